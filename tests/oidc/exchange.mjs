// Token exchange (RFC 8693) for oidc-provider, which brings none: a caller's access token, JWT or
// opaque, becomes one for a resource of the caller's choice, with no more scopes than it had.
const GRANT = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
const TARGETS = ['https://billing.example.com'];

/** Adds the grant. `verify` gives the payload of a JWT of this provider, or throws. */
export function addTokenExchange(provider, errors, verify, serverInfo) {
  const subject = async (token) => {
    if (token.split('.').length === 3) {
      const { client_id, scope, sub } = await verify(token);
      return { client: client_id, scope, sub };
    }
    const found = await provider.ClientCredentials.find(token);
    if (!found) throw new Error('unknown or over');
    return { client: found.clientId, scope: found.scope, sub: found.clientId };
  };
  provider.registerGrantType(GRANT, async (ctx) => {
    const { subject_token: token, subject_token_type: type, audience, scope } = ctx.oidc.params;
    if (type !== ACCESS_TOKEN) throw new errors.InvalidRequest('an access token is wanted');
    const caller = await subject(token).catch((error) => {
      throw new errors.InvalidGrant(error.message);
    });
    if (!TARGETS.includes(audience)) throw new errors.InvalidTarget('no such service');
    const had = new Set((caller.scope ?? '').split(' '));
    const wanted = (scope ?? '').split(' ').filter(Boolean);
    if (!wanted.every((name) => had.has(name))) throw new errors.InvalidScope('more than it had');
    const issued = new provider.ClientCredentials({
      client: ctx.oidc.client,
      scope: wanted.join(' ') || undefined,
      extra: { act_for: caller.sub, act_via: caller.client },
    });
    issued.resourceServer = new provider.ResourceServer(audience, serverInfo(audience));
    ctx.oidc.entity('ClientCredentials', issued);
    const value = await issued.save();
    ctx.body = {
      access_token: value,
      issued_token_type: ACCESS_TOKEN,
      token_type: issued.tokenType,
      expires_in: issued.expiration,
      scope: issued.scope,
    };
  }, ['subject_token', 'subject_token_type', 'requested_token_type', 'audience', 'scope']);
}

export { GRANT };
