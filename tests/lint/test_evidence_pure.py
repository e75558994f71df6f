"""src/evidence as built: what its objects call shows no file, socket, thread or clock, and how large they are."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIMIT = 2 << 20  # bytes of code and constants beside OpenSSL

# C symbols that a pure function may need: memory, strings, arithmetic, the C++ run time, and OpenSSL's primitives.
ALLOWED_C = re.compile(
    r"^(mem(chr|cmp|cpy|move|set)|str(len|cmp|ncmp|chr)|__(cxa|gxx|stack_chk|dso|libc_single|memcpy_chk|memmove_chk|"
    r"memset_chk|snprintf_chk|isoc23_strto)\w*|_Unwind_\w+|_GLOBAL_OFFSET_TABLE_|snprintf|abort|__assert_fail|"  # assertions of the dev build
    r"(BN|EC|ECDSA|EVP|ERR|ASN1|X509|OBJ|CRYPTO|OPENSSL|BIO|OCSP|PEM|RSA|SHA\d*|d2i|i2d)_\w+|xml\w+|"
    r"__(asan|ubsan|tsan)_\w+|operator (new|delete).*|(vtable|typeinfo|VTT) for .*|isal\w+|tolower|toupper|is\w+)$")
# What C++ symbols must not be: every way to the outside that the standard library or base/ offers.
FORBIDDEN = re.compile(
    r"std::(thread|jthread|this_thread|mutex|condition_variable|random_device|filesystem|basic_[io]?fstream|basic_filebuf|"
    r"chrono::_V2::\w+_clock::now|cout|cerr|cin|future|async)|"
    r"cairn::(now|monotonic_ms|read_file|read_text|read_secret|write_file|write_text|make_dirs|log)\b|cairn::crypto::random")


def libraries():
    build = pathlib.Path(os.environ.get("CAIRN_BIN", ROOT / "build/release/bin")).parent
    found = sorted(build.glob("src/evidence/*/libcairn_evidence_*.a"))
    if not found or not shutil.which("nm"):
        pytest.skip("no built evidence libraries, or no nm")
    return found


def outside(library):
    text = subprocess.run(["nm", "-C", str(library)], capture_output=True, text=True, check=True).stdout
    return {line.split(" U ", 1)[1] for line in text.splitlines() if " U " in line}


def test_evidence_calls_nothing_outside():
    wrong = []
    for library in libraries():
        for symbol in sorted(outside(library)):
            named = re.match(r"(std|cairn|nlohmann|fmt|__gnu_cxx|__cxxabiv1)::|.*\b(std|cairn|nlohmann)::", symbol)
            if FORBIDDEN.search(symbol) or not (named or ALLOWED_C.match(symbol)):
                wrong.append(f"{library.name}: {symbol}")
    assert not wrong, "\n".join(wrong)


def test_the_check_can_fail():
    for symbol in ("std::thread::join()", "cairn::now()", "std::filesystem::__cxx11::path::path()"):
        assert FORBIDDEN.search(symbol)
    for symbol in ("socket", "open64", "clock_gettime", "pthread_create", "getenv", "fopen"):
        assert not ALLOWED_C.match(symbol)


def test_evidence_is_small():
    if "asan" in str(libraries()[0]):
        pytest.skip("sanitized code is larger")
    total = 0
    for library in libraries():
        text = subprocess.run(["size", "-A", str(library)], capture_output=True, text=True, check=True).stdout
        total += sum(int(m[1]) for m in re.finditer(r"^\.(?:text|rodata)\S*\s+(\d+)", text, re.M))
    assert total <= LIMIT, f"{total} bytes"
