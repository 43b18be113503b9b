"""The stages of a study, from files to report, each of which can be stopped, continued and done elsewhere.

Nothing is imported here: a process that prepares scans side by side with others imports ``protocol.prepare_cases``, and
must not wait for torch.
"""
