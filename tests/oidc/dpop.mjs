// A client with a key of its own: gets a token that is bound to it, and proves it (RFC 9449).
//
// node dpop.mjs <folder with node_modules> <issuer> <method> <url>
// Prints JSON: { token, proofs: [two fresh proofs for the url], stranger: a proof by another key }.
import './older.mjs';
import { createHash, randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [folder, issuer, method, url] = process.argv.slice(2);
const require = createRequire(`${folder}/`);
const { exportJWK, generateKeyPair, SignJWT } = await import(pathToFileURL(require.resolve('jose')));

const proof = async (pair, htm, htu, token) => {
  const ath = token && createHash('sha256').update(token).digest('base64url');
  return new SignJWT({ htm, htu, jti: randomUUID(), ...(ath ? { ath } : {}) })
    .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk: await exportJWK(pair.publicKey) })
    .setIssuedAt()
    .sign(pair.privateKey);
};

const own = await generateKeyPair('ES256');
const answer = await fetch(`${issuer}/token`, {
  method: 'POST',
  headers: {
    authorization: `Basic ${btoa('bound:bound-secret-of-sufficient-length')}`,
    'content-type': 'application/x-www-form-urlencoded',
    dpop: await proof(own, 'POST', `${issuer}/token`),
  },
  body: 'grant_type=client_credentials&scope=pay:read',
});
const { access_token: token, token_type: type, ...rest } = await answer.json();
if (type !== 'DPoP') throw new Error(`no bound token: ${answer.status} ${JSON.stringify(rest)}`);
const proofs = [await proof(own, method, url, token), await proof(own, method, url, token)];
const stranger = await proof(await generateKeyPair('ES256'), method, url, token);
console.log(JSON.stringify({ token, proofs, stranger }));
