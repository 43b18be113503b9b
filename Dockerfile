# synthoma for the processor: torch pinned, the tested packages, an ordinary user, no network needed at run time.
#
#   docker build -t synthoma .
#   docker run --rm --network none -v "$PWD:/data" --user "$(id -u):$(id -g)" synthoma demo --out demo
#
# TORCH and PIP_EXTRA_INDEX_URL choose another build of torch, such as the one for the processor alone
# (TORCH=torch==2.13.0+cpu, from the index that PyTorch names for it), which is gigabytes smaller where the plain one
# comes with CUDA.
FROM python:3.11-slim-bookworm AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip install --no-cache-dir build==1.6.1 && python -m build --wheel --outdir /dist

FROM python:3.11-slim-bookworm
ARG TORCH=torch==2.13.0
ARG PIP_EXTRA_INDEX_URL=
ARG EXTRAS=[dicom,study]
COPY constraints.txt /tmp/constraints.txt
COPY --from=build /dist /tmp/dist
# torch first and alone: another order may bring another build of it.
RUN pip install --no-cache-dir -c /tmp/constraints.txt "$TORCH" \
    && pip install --no-cache-dir -c /tmp/constraints.txt "$(echo /tmp/dist/*.whl)$EXTRAS" \
    && rm -r /tmp/dist /tmp/constraints.txt \
    && useradd --uid 10001 --create-home synthoma
# Also for --user with an id that has no home here.
ENV HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib PYTHONUNBUFFERED=1
USER synthoma
WORKDIR /data
ENTRYPOINT ["synthoma"]
CMD ["--help"]
