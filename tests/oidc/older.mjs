// What oidc-provider and jose expect of Node, for the Node 18 of Debian 12.
import * as crypto from 'node:crypto';
import { register } from 'node:module';

globalThis.crypto ??= crypto.webcrypto;
globalThis.CryptoKey ??= crypto.webcrypto.CryptoKey;
URL.parse ??= (...given) => {
  try {
    return new URL(...given);
  } catch {
    return null;
  }
};
if (!crypto.hash) {
  // A name that a module does not export can only be had from another module.
  const other = `data:text/javascript,${encodeURIComponent(`
    import { createHash } from 'node:crypto';
    export * from 'node:crypto';
    export { default } from 'node:crypto';
    export const hash = (name, data, form = 'hex') => createHash(name).update(data).digest(form);
  `)}`;
  register(`data:text/javascript,${encodeURIComponent(`
    export const resolve = (name, context, next) =>
      name === 'node:crypto' && context.parentURL?.includes('/oidc-provider/')
        ? { url: ${JSON.stringify(other)}, shortCircuit: true }
        : next(name, context);
  `)}`);
}
