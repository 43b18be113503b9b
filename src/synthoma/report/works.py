"""The works that may be cited, by key. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["WORKS", "Work"]


@dataclass(frozen=True)
class Work:
    """A publication."""

    kind: Literal["article", "inproceedings", "book", "misc"]
    authors: str
    """As BibTeX wants them: ``Wang, Z. and Bovik, A. C. and others``."""
    title: str
    place: str
    """Journal, proceedings, publisher or archive."""
    year: int
    volume: str = ""
    pages: str = ""
    doi: str = ""
    arxiv: str = ""


WORKS: Mapping[str, Work] = {
    # similarity
    "wang2004ssim": Work("article", "Wang, Z. and Bovik, A. C. and Sheikh, H. R. and Simoncelli, E. P.",
        "Image quality assessment: from error visibility to structural similarity",
        "IEEE Transactions on Image Processing", 2004, "13(4)", "600–612", "10.1109/TIP.2003.819861"),
    # distribution
    "heusel2017ttur": Work("inproceedings",
        "Heusel, M. and Ramsauer, H. and Unterthiner, T. and Nessler, B. and Hochreiter, S.",
        "GANs trained by a two time-scale update rule converge to a local Nash equilibrium",
        "Advances in Neural Information Processing Systems", 2017, "30", arxiv="1706.08500"),
    "chong2020fid": Work("inproceedings", "Chong, M. J. and Forsyth, D.",
        "Effectively unbiased FID and Inception Score and where to find them",
        "IEEE/CVF Conference on Computer Vision and Pattern Recognition", 2020, arxiv="1911.07023"),
    "binkowski2018kid": Work("inproceedings",
        "Bińkowski, M. and Sutherland, D. J. and Arbel, M. and Gretton, A.", "Demystifying MMD GANs",
        "International Conference on Learning Representations", 2018, arxiv="1801.01401"),
    "kynkaanniemi2019precision": Work("inproceedings",
        "Kynkäänniemi, T. and Karras, T. and Laine, S. and Lehtinen, J. and Aila, T.",
        "Improved precision and recall metric for assessing generative models",
        "Advances in Neural Information Processing Systems", 2019, "32", arxiv="1904.06991"),
    "naeem2020density": Work("inproceedings",
        "Naeem, M. F. and Oh, S. J. and Uh, Y. and Choi, Y. and Yoo, J.",
        "Reliable fidelity and diversity metrics for generative models", "International Conference on Machine Learning",
        2020, arxiv="2002.09797"),
    "lopezpaz2017c2st": Work("inproceedings", "Lopez-Paz, D. and Oquab, M.",
        "Revisiting classifier two-sample tests", "International Conference on Learning Representations", 2017,
        arxiv="1610.06545"),
    "parmar2022cleanfid": Work("inproceedings", "Parmar, G. and Zhang, R. and Zhu, J.-Y.",
        "On aliased resizing and surprising subtleties in GAN evaluation",
        "IEEE/CVF Conference on Computer Vision and Pattern Recognition", 2022, arxiv="2104.11222"),
    "durall2020upconvolution": Work("inproceedings", "Durall, R. and Keuper, M. and Keuper, J.",
        "Watch your up-convolution: CNN based generative deep neural networks are failing to reproduce spectral "
        "distributions", "IEEE/CVF Conference on Computer Vision and Pattern Recognition", 2020, arxiv="2003.01826"),
    # networks
    "tan2019efficientnet": Work("inproceedings", "Tan, M. and Le, Q. V.",
        "EfficientNet: rethinking model scaling for convolutional neural networks",
        "International Conference on Machine Learning", 2019, arxiv="1905.11946"),
    "he2016resnet": Work("inproceedings", "He, K. and Zhang, X. and Ren, S. and Sun, J.",
        "Deep residual learning for image recognition", "IEEE Conference on Computer Vision and Pattern Recognition",
        2016, arxiv="1512.03385"),
    "szegedy2016inception": Work("inproceedings",
        "Szegedy, C. and Vanhoucke, V. and Ioffe, S. and Shlens, J. and Wojna, Z.",
        "Rethinking the Inception architecture for computer vision",
        "IEEE Conference on Computer Vision and Pattern Recognition", 2016, arxiv="1512.00567"),
    "mei2022radimagenet": Work("article", "Mei, X. and Liu, Z. and Robson, P. M. and others",
        "RadImageNet: an open radiologic deep learning research dataset for effective transfer learning",
        "Radiology: Artificial Intelligence", 2022, "4(5)", "e210315", "10.1148/ryai.210315"),
    "oquab2024dinov2": Work("article", "Oquab, M. and Darcet, T. and Moutakanni, T. and others",
        "DINOv2: learning robust visual features without supervision", "Transactions on Machine Learning Research",
        2024, arxiv="2304.07193"),
    "simonyan2015vgg": Work("inproceedings", "Simonyan, K. and Zisserman, A.",
        "Very deep convolutional networks for large-scale image recognition",
        "International Conference on Learning Representations", 2015, arxiv="1409.1556"),
    "ronneberger2015unet": Work("inproceedings", "Ronneberger, O. and Fischer, P. and Brox, T.",
        "U-Net: convolutional networks for biomedical image segmentation",
        "Medical Image Computing and Computer-Assisted Intervention", 2015, arxiv="1505.04597"),
    # generative models and training
    "isola2017pix2pix": Work("inproceedings", "Isola, P. and Zhu, J.-Y. and Zhou, T. and Efros, A. A.",
        "Image-to-image translation with conditional adversarial networks",
        "IEEE Conference on Computer Vision and Pattern Recognition", 2017, arxiv="1611.07004"),
    "zhu2017cyclegan": Work("inproceedings", "Zhu, J.-Y. and Park, T. and Isola, P. and Efros, A. A.",
        "Unpaired image-to-image translation using cycle-consistent adversarial networks",
        "IEEE International Conference on Computer Vision", 2017, arxiv="1703.10593"),
    "gulrajani2017wgangp": Work("inproceedings",
        "Gulrajani, I. and Ahmed, F. and Arjovsky, M. and Dumoulin, V. and Courville, A.",
        "Improved training of Wasserstein GANs", "Advances in Neural Information Processing Systems", 2017, "30",
        arxiv="1704.00028"),
    "mao2017lsgan": Work("inproceedings",
        "Mao, X. and Li, Q. and Xie, H. and Lau, R. Y. K. and Wang, Z. and Smolley, S. P.",
        "Least squares generative adversarial networks", "IEEE International Conference on Computer Vision", 2017,
        arxiv="1611.04076"),
    "reed2016text": Work("inproceedings",
        "Reed, S. and Akata, Z. and Yan, X. and Logeswaran, L. and Schiele, B. and Lee, H.",
        "Generative adversarial text to image synthesis", "International Conference on Machine Learning", 2016,
        arxiv="1605.05396"),
    "zhao2017loss": Work("article", "Zhao, H. and Gallo, O. and Frosio, I. and Kautz, J.",
        "Loss functions for image restoration with neural networks", "IEEE Transactions on Computational Imaging", 2017,
        "3(1)", "47–57", arxiv="1511.08861"),
    "goodfellow2014gan": Work("inproceedings", "Goodfellow, I. and Pouget-Abadie, J. and Mirza, M. and others",
        "Generative adversarial nets", "Advances in Neural Information Processing Systems", 2014, "27",
        arxiv="1406.2661"),
    "karras2018progressive": Work("inproceedings", "Karras, T. and Aila, T. and Laine, S. and Lehtinen, J.",
        "Progressive growing of GANs for improved quality, stability, and variation",
        "International Conference on Learning Representations", 2018, arxiv="1710.10196"),
    "johnson2016perceptual": Work("inproceedings", "Johnson, J. and Alahi, A. and Fei-Fei, L.",
        "Perceptual losses for real-time style transfer and super-resolution", "European Conference on Computer Vision",
        2016, arxiv="1603.08155"),
    "zhao2020diffaugment": Work("inproceedings", "Zhao, S. and Liu, Z. and Lin, J. and Zhu, J.-Y. and Han, S.",
        "Differentiable augmentation for data-efficient GAN training",
        "Advances in Neural Information Processing Systems", 2020, "33", arxiv="2006.10738"),
    "heinrich2012mind": Work("article", "Heinrich, M. P. and Jenkinson, M. and Bhushan, M. and others",
        "MIND: modality independent neighbourhood descriptor for multi-modal deformable registration",
        "Medical Image Analysis", 2012, "16(7)", "1423–1435", "10.1016/j.media.2012.05.008"),
    "kingma2015adam": Work("inproceedings", "Kingma, D. P. and Ba, J.", "Adam: a method for stochastic optimization",
        "International Conference on Learning Representations", 2015, arxiv="1412.6980"),
    "loshchilov2019adamw": Work("inproceedings", "Loshchilov, I. and Hutter, F.",
        "Decoupled weight decay regularization", "International Conference on Learning Representations", 2019,
        arxiv="1711.05101"),
    "tieleman2012rmsprop": Work("misc", "Tieleman, T. and Hinton, G.",
        "Lecture 6.5: RMSProp, divide the gradient by a running average of its recent magnitude",
        "Coursera: Neural Networks for Machine Learning", 2012),
    # preprocessing
    "tustison2010n4": Work("article", "Tustison, N. J. and Avants, B. B. and Cook, P. A. and others",
        "N4ITK: improved N3 bias correction", "IEEE Transactions on Medical Imaging", 2010, "29(6)", "1310–1320",
        "10.1109/TMI.2010.2046908"),
    "isensee2019hdbet": Work("article", "Isensee, F. and Schell, M. and Pflueger, I. and others",
        "Automated brain extraction of multisequence MRI using artificial neural networks", "Human Brain Mapping", 2019,
        "40(17)", "4952–4964", "10.1002/hbm.24750"),
    "hoopes2022synthstrip": Work("article",
        "Hoopes, A. and Mora, J. S. and Dalca, A. V. and Fischl, B. and Hoffmann, M.",
        "SynthStrip: skull-stripping for any brain image", "NeuroImage", 2022, "260", "119474",
        "10.1016/j.neuroimage.2022.119474"),
    "gonzalez2018dip": Work("book", "Gonzalez, R. C. and Woods, R. E.", "Digital Image Processing, 4th edition",
        "Pearson", 2018),
    "zuiderveld1994clahe": Work("inproceedings", "Zuiderveld, K.", "Contrast limited adaptive histogram equalization",
        "Graphics Gems IV", 1994, pages="474–485"),
    "tukey1977eda": Work("book", "Tukey, J. W.", "Exploratory Data Analysis", "Addison-Wesley", 1977),
    # statistics
    "efron1987bca": Work("article", "Efron, B.", "Better bootstrap confidence intervals",
        "Journal of the American Statistical Association", 1987, "82(397)", "171–185",
        "10.1080/01621459.1987.10478410"),
    "clopper1934": Work("article", "Clopper, C. J. and Pearson, E. S.",
        "The use of confidence or fiducial limits illustrated in the case of the binomial", "Biometrika", 1934, "26(4)",
        "404–413", "10.1093/biomet/26.4.404"),
    "nadeau2003": Work("article", "Nadeau, C. and Bengio, Y.", "Inference for the generalization error",
        "Machine Learning", 2003, "52", "239–281", "10.1023/A:1024068626366"),
    "holm1979": Work("article", "Holm, S.", "A simple sequentially rejective multiple test procedure",
        "Scandinavian Journal of Statistics", 1979, "6(2)", "65–70"),
    "mcnemar1947": Work("article", "McNemar, Q.",
        "Note on the sampling error of the difference between correlated proportions or percentages", "Psychometrika",
        1947, "12", "153–157", "10.1007/BF02295996"),
    "delong1988": Work("article", "DeLong, E. R. and DeLong, D. M. and Clarke-Pearson, D. L.",
        "Comparing the areas under two or more correlated receiver operating characteristic curves: a nonparametric "
        "approach", "Biometrics", 1988, "44(3)", "837–845", "10.2307/2531595"),
    "obuchowski1997": Work("article", "Obuchowski, N. A.", "Nonparametric analysis of clustered ROC curve data",
        "Biometrics", 1997, "53(2)", "567–578", "10.2307/2533958"),
    "shrout1979": Work("article", "Shrout, P. E. and Fleiss, J. L.",
        "Intraclass correlations: uses in assessing rater reliability", "Psychological Bulletin", 1979, "86(2)",
        "420–428", "10.1037/0033-2909.86.2.420"),
    # pictures
    "selvaraju2017gradcam": Work("inproceedings", "Selvaraju, R. R. and Cogswell, M. and Das, A. and others",
        "Grad-CAM: visual explanations from deep networks via gradient-based localization",
        "IEEE International Conference on Computer Vision", 2017, arxiv="1610.02391"),
    "rousseeuw1987silhouettes": Work("article", "Rousseeuw, P. J.",
        "Silhouettes: a graphical aid to the interpretation and validation of cluster analysis",
        "Journal of Computational and Applied Mathematics", 1987, "20", "53–65", "10.1016/0377-0427(87)90125-7"),
    "vandermaaten2008tsne": Work("article", "van der Maaten, L. and Hinton, G.", "Visualizing data using t-SNE",
        "Journal of Machine Learning Research", 2008, "9", "2579–2605"),
    # privacy
    "alaa2022authenticity": Work("inproceedings",
        "Alaa, A. and van Breugel, B. and Saveliev, E. S. and van der Schaar, M.",
        "How faithful is your synthetic data? Sample-level metrics for evaluating and auditing generative models",
        "International Conference on Machine Learning", 2022, arxiv="2102.08921"),
    "chen2020ganleaks": Work("inproceedings", "Chen, D. and Yu, N. and Zhang, Y. and Fritz, M.",
        "GAN-Leaks: a taxonomy of membership inference attacks against generative models",
        "ACM Conference on Computer and Communications Security", 2020, arxiv="1909.03935"),
    "vanbreugel2023domias": Work("inproceedings",
        "van Breugel, B. and Sun, H. and Qian, Z. and van der Schaar, M.",
        "Membership inference attacks against synthetic data through overfitting detection",
        "International Conference on Artificial Intelligence and Statistics", 2023, arxiv="2302.12580"),
    # data
    "baid2021brats": Work("misc", "Baid, U. and Ghodasara, S. and Mohan, S. and others",
        "The RSNA-ASNR-MICCAI BraTS 2021 benchmark on brain tumor segmentation and radiogenomic classification",
        "arXiv", 2021, arxiv="2107.02314"),
    "menze2015brats": Work("article", "Menze, B. H. and Jakab, A. and Bauer, S. and others",
        "The multimodal brain tumor image segmentation benchmark (BRATS)", "IEEE Transactions on Medical Imaging", 2015,
        "34(10)", "1993–2024", "10.1109/TMI.2014.2377694"),
    "armato2011lidc": Work("article", "Armato, S. G. and McLennan, G. and Bidaut, L. and others",
        "The Lung Image Database Consortium (LIDC) and Image Database Resource Initiative (IDRI): a completed "
        "reference database of lung nodules on CT scans", "Medical Physics", 2011, "38(2)", "915–931",
        "10.1118/1.3528204"),
    "moawad2023hcc": Work("article", "Moawad, A. W. and Morshid, A. and Khalaf, A. M. and others",
        "Multimodality annotated hepatocellular carcinoma data set including pre- and post-TACE with imaging "
        "segmentation", "Scientific Data", 2023, "10", "33", "10.1038/s41597-023-01928-3"),
    "bilic2023lits": Work("article", "Bilic, P. and Christ, P. and Li, H. B. and others",
        "The liver tumor segmentation benchmark (LiTS)", "Medical Image Analysis", 2023, "84", "102680",
        "10.1016/j.media.2022.102680"),
    "antonelli2022decathlon": Work("article", "Antonelli, M. and Reinke, A. and Bakas, S. and others",
        "The Medical Segmentation Decathlon", "Nature Communications", 2022, "13", "4128",
        "10.1038/s41467-022-30695-9"),
    "buda2019lgg": Work("article", "Buda, M. and Saha, A. and Mazurowski, M. A.",
        "Association of genomic subtypes of lower-grade gliomas with shape features automatically extracted by a deep "
        "learning algorithm", "Computers in Biology and Medicine", 2019, "109", "218–225",
        "10.1016/j.compbiomed.2019.05.002"),
    # software
    "paszke2019pytorch": Work("inproceedings", "Paszke, A. and Gross, S. and Massa, F. and others",
        "PyTorch: an imperative style, high-performance deep learning library",
        "Advances in Neural Information Processing Systems", 2019, "32", arxiv="1912.01703"),
    "harris2020numpy": Work("article", "Harris, C. R. and Millman, K. J. and van der Walt, S. J. and others",
        "Array programming with NumPy", "Nature", 2020, "585", "357–362", "10.1038/s41586-020-2649-2"),
    "virtanen2020scipy": Work("article", "Virtanen, P. and Gommers, R. and Oliphant, T. E. and others",
        "SciPy 1.0: fundamental algorithms for scientific computing in Python", "Nature Methods", 2020, "17", "261–272",
        "10.1038/s41592-019-0686-2"),
    "vanderwalt2014skimage": Work("article",
        "van der Walt, S. and Schönberger, J. L. and Nunez-Iglesias, J. and others",
        "scikit-image: image processing in Python", "PeerJ", 2014, "2", "e453", "10.7717/peerj.453"),
}  # fmt: skip
