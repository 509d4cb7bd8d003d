"""Tokens for the scripts of this folder. openssl makes the keys and signs, so that nothing that is
measured has a part in it. Python's standard library only."""

import base64
import json
import subprocess

import stand


def b64(data):
    data = data if isinstance(data, bytes) else data.encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def openssl(*arguments, text=None):
    argv = [stand.program("openssl"), *arguments]
    return subprocess.run(argv, input=text, check=True, capture_output=True).stdout


class Key:
    """A key of an issuer: its files, its JWK, and tokens that it signed."""

    algorithm = None

    def __init__(self, place, name):
        self.private, self.public = place / f"{name}.pem", place / f"{name}.pub"
        self.generate()
        openssl("pkey", "-in", self.private, "-pubout", "-out", self.public)
        members = {"kid": "k1", "alg": self.algorithm, "use": "sig"}
        self.jwk = {**self.parameters(), **members}

    def token(self, header, claims):
        signed = f"{b64(json.dumps(header))}.{b64(claims)}"
        return f"{signed}.{b64(self.sign(signed))}"


class RsaKey(Key):
    algorithm = "RS256"

    def generate(self):
        openssl("genrsa", "-out", self.private, "2048")

    def parameters(self):
        modulus = openssl("rsa", "-in", self.private, "-noout", "-modulus").decode().strip()
        return {"kty": "RSA", "n": b64(bytes.fromhex(modulus.split("=")[1])), "e": "AQAB"}

    def sign(self, text):
        return openssl("dgst", "-sha256", "-sign", self.private, text=text.encode())


class EcKey(Key):
    algorithm = "ES256"

    def generate(self):
        openssl("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", self.private)

    def parameters(self):
        # The public key in DER ends with the point: 4, x, y.
        point = openssl("pkey", "-in", self.private, "-pubout", "-outform", "DER")[-64:]
        return {"kty": "EC", "crv": "P-256", "x": b64(point[:32]), "y": b64(point[32:])}

    def sign(self, text):
        """Two numbers of 32 bytes (RFC 7518 section 3.4) out of openssl's DER."""
        der = openssl("dgst", "-sha256", "-sign", self.private, text=text.encode())
        numbers, at = [], 2
        for _ in range(2):
            length = der[at + 1]
            numbers.append(der[at + 2:at + 2 + length].lstrip(b"\0").rjust(32, b"\0"))
            at += 2 + length
        return b"".join(numbers)
