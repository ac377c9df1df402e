// An authorization server for the tests: oidc-provider with client credentials and API resources. It takes the folder in which
// oidc-provider is installed as its argument and its settings as a line of JSON on standard input, prints its issuer when it
// listens, and ends with its standard input. Each further line has it sign with a new key; it prints that key's id.
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const installed = createRequire(`${process.argv[2]}/`);
const { default: Provider, errors } = await import(pathToFileURL(installed.resolve('oidc-provider')));

const input = createInterface({ input: process.stdin });
input.once('close', () => process.exit());
const settings = JSON.parse(await new Promise((resolve) => input.once('line', resolve)));

let keys = [];
const addKey = (keepOld) => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  const key = { ...privateKey.export({ format: 'jwk' }), kid: crypto.randomUUID(), alg: 'ES384', use: 'sig' };
  keys = keepOld ? [key, ...keys] : [key];
  return key.kid;
};

const newProvider = (issuer) =>
  new Provider(issuer, {
    clients: settings.clients.map(({ id, secret }) => ({
      client_id: id,
      client_secret: secret,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      token_endpoint_auth_method: 'client_secret_basic',
    })),
    jwks: { keys },
    clientDefaults: { id_token_signed_response_alg: 'ES384' },
    enabledJWA: { idTokenSigningAlgValues: ['ES384'] },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo(ctx, indicator) {
          const resource = settings.resources[indicator];
          if (!resource) throw new errors.InvalidTarget();
          return {
            audience: indicator,
            scope: resource.scopes.join(' '),
            accessTokenFormat: resource.opaque ? 'opaque' : 'jwt',
            accessTokenTTL: 3600,
            jwt: { sign: { alg: 'ES384' } },
          };
        },
      },
    },
  });

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  addKey(false);
  let answer = newProvider(issuer).callback();
  server.on('request', (request, response) => answer(request, response));
  // The keys are configuration: who rotates them starts the provider again, with the key set that is to be from now on.
  input.on('line', (line) => {
    const kid = addKey(JSON.parse(line).keepOld);
    answer = newProvider(issuer).callback();
    console.log(kid);
  });
  console.log(issuer);
});
