def supported() -> bool: ...
def common_exponent(n: int, modulus: bytes, exponent: bytes, bases: bytes, /) -> bytes: ...
def fixed_base_table(n: int, modulus: bytes, base: bytes, window: int, rows: int, /) -> bytes: ...
def fixed_base_powers(
    n: int,
    modulus: bytes,
    table: bytes,
    window: int,
    rows: int,
    exponents: bytes,
    exponent_bytes: int,
    /,
) -> bytes: ...
def noise(
    n: int,
    key: bytes,
    table_p: bytes,
    table_q: bytes,
    window: int,
    rows: int,
    exponents_p: bytes,
    exponents_q: bytes,
    exponent_bytes: int,
    /,
) -> bytes: ...
def hide(n: int, key: bytes, noise: bytes, plaintexts: bytes, width: int, /) -> bytes: ...
def open(
    n: int,
    key: bytes,
    exponent_p: bytes,
    exponent_q: bytes,
    blinds_p: bytes,
    blinds_q: bytes,
    together: int,
    ciphertexts: bytes | memoryview,
    width: int,
    /,
) -> tuple[bytes, bytes]: ...
def multiply(n: int, modulus: bytes, first: bytes, second: bytes, width: int, /) -> bytes: ...
def unit_products(n: int, modulus: bytes, values: bytes, width: int, /) -> bytes: ...
