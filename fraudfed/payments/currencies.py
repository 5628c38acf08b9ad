"""Currency codes and their minor units, by ISO 4217.

Source: ISO 4217 list one (current currencies and funds, as published by SIX on 2026-01-01) and,
of list three, the codes withdrawn since December 2014, because a bank's history still has them.
"""

from typing import Final

_TWO_DECIMALS: Final = """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF
    CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD
    GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL
    MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR
    PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP
    TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG
"""
_WITHDRAWN_WITH_TWO: Final = "ANG BGN CUC HRK LTL MRO SLL STD VEF ZWL"
_NO_DECIMALS: Final = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_WITHDRAWN_WITH_NONE: Final = "BYR"
_THREE_DECIMALS: Final = "BHD IQD JOD KWD LYD OMR TND"
_FOUR_DECIMALS: Final = "CLF UYW"

#: Digits after the decimal point, by code: 2 for pence in a pound. The Mauritanian ouguiya and the
#: Malagasy ariary, which divide by five, have 2 in the standard and here. Metals, test codes and
#: "no currency" (XAU, XTS, XXX ...) have no minor unit, and cannot be paid with: they are left out.
EXPONENTS: Final[dict[str, int]] = {
    code: exponent
    for codes, exponent in (
        (_TWO_DECIMALS, 2),
        (_WITHDRAWN_WITH_TWO, 2),
        (_NO_DECIMALS, 0),
        (_WITHDRAWN_WITH_NONE, 0),
        (_THREE_DECIMALS, 3),
        (_FOUR_DECIMALS, 4),
    )
    for code in codes.split()
}
#: Every code, sorted.
CURRENCIES: Final = tuple(sorted(EXPONENTS))


def minor_units(code: str) -> int:
    """Return how many minor units make one unit of a currency: 100 for GBP, 1 for JPY.

    Raises
    ------
    KeyError
        If ISO 4217 has no such code, or it has no minor unit.
    """
    return int(10 ** EXPONENTS[code])
