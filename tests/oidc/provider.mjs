// An authorization server for tests: oidc-provider on loopback, with client credentials, opaque and
// JWT access tokens, introspection, DPoP, and keys that a test can rotate.
//
// node provider.mjs <folder with node_modules> <port>
// GET /test/rotate makes a new signing key the first one; the old one stays published.
import { createRequire } from 'node:module';
import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';

const [folder, port] = process.argv.slice(2);
const require = createRequire(`${folder}/`);
const load = (name) => import(pathToFileURL(require.resolve(name)));
const { default: Provider } = await load('oidc-provider');
const { exportJWK, generateKeyPair } = await load('jose');

const issuer = `http://127.0.0.1:${port}`;
const newKey = async (kid) => {
  const { privateKey } = await generateKeyPair('ES256', { extractable: true });
  return { ...(await exportJWK(privateKey)), kid, alg: 'ES256', use: 'sig' };
};

const keys = [await newKey('k0')];
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

const resources = (format) => ({
  enabled: true,
  defaultResource: () => 'https://api.example.com',
  useGrantedResource: () => true,
  getResourceServerInfo: (_ctx, resource) => ({
    scope: 'pay:read pay:write',
    audience: resource,
    accessTokenTTL: 300,
    accessTokenFormat: resource.endsWith('/opaque') ? 'opaque' : format,
    jwt: { sign: { alg: 'ES256' } },
  }),
});

const make = () => new Provider(issuer, {
  jwks: { keys },
  clients: [
    client('shop'),
    client('bound', { dpop_bound_access_tokens: true }),
    client('gateway'),
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
    resourceIndicators: resources('jwt'),
  },
});

let answer = make().callback();
createServer(async (request, response) => {
  if (request.url === '/test/rotate') {
    keys.unshift(await newKey(`k${keys.length}`));
    answer = make().callback();
    response.end(keys[0].kid);
    return;
  }
  answer(request, response);
}).listen(Number(port), '127.0.0.1');
