// An authorization server for tests: oidc-provider on loopback, with client credentials, opaque and
// JWT access tokens, introspection, DPoP, token exchange, and keys that a test can rotate.
//
// node provider.mjs <folder with node_modules> <port> [<file that keeps the keys>]
// GET /test/rotate makes a new signing key the first one; the old one stays published.
import './older.mjs';
import { createRequire } from 'node:module';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';
import { addTokenExchange, GRANT } from './exchange.mjs';

const [folder, port, kept] = process.argv.slice(2);
const require = createRequire(`${folder}/`);
const load = (name) => import(pathToFileURL(require.resolve(name)));
const { default: Provider, errors } = await load('oidc-provider');
const { createLocalJWKSet, exportJWK, generateKeyPair, jwtVerify } = await load('jose');

const issuer = `http://127.0.0.1:${port}`;
const newKey = async (kid) => {
  const { privateKey } = await generateKeyPair('ES256', { extractable: true });
  return { ...(await exportJWK(privateKey)), kid, alg: 'ES256', use: 'sig' };
};

// What dies with its keys on the disk returns with them.
const keys = kept && existsSync(kept) ? JSON.parse(readFileSync(kept)) : [await newKey('k0')];
const keep = () => kept && writeFileSync(kept, JSON.stringify(keys), { mode: 0o600 });
keep();

const client = (id, more) => ({
  client_id: id,
  client_secret: `${id}-secret-of-sufficient-length`,
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
  id_token_signed_response_alg: 'ES256',
  scope: 'pay:read pay:write',
  ...more,
});

const serverInfo = (resource) => ({
  scope: 'pay:read pay:write',
  audience: resource,
  accessTokenTTL: 300,
  accessTokenFormat: resource.endsWith('/opaque') ? 'opaque' : 'jwt',
  jwt: { sign: { alg: 'ES256' } },
});

const verify = async (token) => {
  const own = createLocalJWKSet({ keys: keys.map(({ d, ...open }) => open) });
  return (await jwtVerify(token, own, { issuer, typ: 'at+jwt' })).payload;
};

const provider = () => new Provider(issuer, {
  jwks: { keys },
  clients: [
    client('shop'),
    client('bound', { dpop_bound_access_tokens: true }),
    client('gateway', { grant_types: ['client_credentials', GRANT] }),
  ],
  clientAuthMethods: ['client_secret_basic', 'client_secret_post'],
  enabledJWA: { clientAuthSigningAlgValues: ['ES256'], dPoPSigningAlgValues: ['ES256'] },
  scopes: ['pay:read', 'pay:write'],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    revocation: { enabled: true },
    dPoP: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => 'https://api.example.com',
      useGrantedResource: () => true,
      getResourceServerInfo: (_ctx, resource) => serverInfo(resource),
    },
  },
  extraTokenClaims: (_ctx, token) => token.extra,
});

const make = () => {
  const made = provider();
  addTokenExchange(made, errors, verify, serverInfo);
  return made;
};

let answer = make().callback();
createServer(async (request, response) => {
  if (request.url === '/test/rotate') {
    keys.unshift(await newKey(`k${keys.length}`));
    keep();
    answer = make().callback();
    response.end(keys[0].kid);
    return;
  }
  answer(request, response);
}).listen(Number(port), '127.0.0.1');
