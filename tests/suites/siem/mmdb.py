"""Writes two databases in MaxMind's format: mmdb.py COUNTRY.mmdb ASN.mmdb NETWORKS LETTERS NUMBER."""

import sys

from mmdb_writer import MMDBWriter
from netaddr import IPSet

country, asn, network, letters, number = sys.argv[1:]
for path, kind, data in [
    (country, "GeoLite2-Country", {"country": {"iso_code": letters}}),
    (asn, "GeoLite2-ASN", {"autonomous_system_number": int(number)}),
]:
    writer = MMDBWriter(ip_version=6, ipv4_compatible=True, database_type=kind)
    writer.insert_network(IPSet(network.split(',')), data)
    writer.to_db_file(path)
