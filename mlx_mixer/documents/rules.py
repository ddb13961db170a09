"""Which files and folders are left out by their name alone, and what the user is told about it."""

import os
import re

# Folders of tools: copies of other people's text, or caches that change all the time.
_TOOL_FOLDERS = frozenset({"node_modules", "bower_components", "__pycache__", "site-packages", "__MACOSX"})
# A file that marks its folder as not worth reading: a Python environment, a cache (https://bford.info/cachedir/).
FOLDER_MARKS = {b"pyvenv.cfg": "a Python environment", b"CACHEDIR.TAG": "a cache folder"}

_SECRET_FOLDERS = frozenset({".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".password-store", "keychains"})
_SECRET_NAMES = frozenset(
    b".env .netrc _netrc .pgpass .npmrc .pypirc .git-credentials .htpasswd credentials credentials.json secrets.json"
    b" secrets.yml secrets.yaml".split()
)
_SECRET_BEGINNINGS = (b".env.", b"id_rsa", b"id_dsa", b"id_ecdsa", b"id_ed25519")
_SECRET_SUFFIXES = b"env pem key p12 pfx jks keystore kdb kdbx ppk ovpn gpg pgp".split()
# Of the beginning of a file, where a key is looked for.
_KEY_BYTES = 4096
_PRIVATE_KEY = re.compile(rb"^-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----", re.MULTILINE)

_LATER = ".doc .dot .xls .xlsb .ppt .msg .pages .numbers"
_BINARY = """
    .png .jpg .jpeg .gif .bmp .tif .tiff .webp .heic .heif .ico .icns .psd .raw .cr2 .nef .avif .xcf
    .mp3 .m4a .aac .flac .ogg .opus .wav .aiff .mp4 .m4v .mov .mkv .avi .webm .wmv .mpg .mpeg
    .zip .gz .tgz .bz2 .xz .zst .7z .rar .tar .jar .war .whl .egg .deb .rpm .dmg .iso .img .pkg .apk
    .exe .dll .so .dylib .a .o .obj .lib .class .pyc .pyo .pyd .wasm .bin .dat .pak
    .sqlite .sqlite3 .db .mdb .parquet .arrow .feather .npy .npz .h5 .hdf5 .pkl .pickle .pt .pth .onnx .safetensors
    .gguf
    .ttf .otf .woff .woff2 .eot .model .mo .swp
"""
_SUFFIX_REASONS = {
    **{suffix[1:].encode(): f"not text ({suffix})" for suffix in _BINARY.split()},
    **{suffix[1:].encode(): f"{suffix} files cannot be read yet" for suffix in _LATER.split()},
    **dict.fromkeys(_SECRET_SUFFIXES, "may hold secrets"),
}


def folder_reason(name: bytes) -> str | None:
    """Say why a folder with this name is not entered, if so."""
    text = os.fsdecode(name)
    if text.lower() in _SECRET_FOLDERS:
        return "may hold secrets"
    if text in _TOOL_FOLDERS or text.endswith(".egg-info"):
        return "a folder of tools"
    return "hidden" if text.startswith(".") else None


def file_reason(name: bytes) -> str | None:
    """Say why a file with this name is not opened, if so."""
    # Asked of every file at every walk, so by tables and not by patterns.
    name = name.lower()
    if name in _SECRET_NAMES or name.startswith(_SECRET_BEGINNINGS):
        return "may hold secrets"
    stem, _, suffix = name.rpartition(b".")
    reason = _SUFFIX_REASONS.get(suffix) if stem else None
    if name.startswith(b".") and reason != "may hold secrets":
        return "hidden"
    return reason


def content_reason(data: bytes) -> str | None:
    """Say why these bytes are not kept, if so: a private key under an innocent name."""
    # Plain searching first: nearly no file needs the pattern.
    is_likely = data.find(b"PRIVATE KEY-----", 0, _KEY_BYTES) >= 0
    return "may hold secrets (a private key)" if is_likely and _PRIVATE_KEY.search(data, 0, _KEY_BYTES) else None
