// An authorization server for the tests: oidc-provider with client credentials and one API resource. It takes the folder
// in which oidc-provider is installed as its argument and its settings as a line of JSON on standard input, prints its
// issuer when it listens, and ends with its standard input.
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

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  const provider = new Provider(issuer, {
    clients: settings.clients.map(({ id, secret }) => ({
      client_id: id,
      client_secret: secret,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      token_endpoint_auth_method: 'client_secret_basic',
    })),
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid: 'first', alg: 'ES384', use: 'sig' }] },
    clientDefaults: { id_token_signed_response_alg: 'ES384' },
    enabledJWA: { idTokenSigningAlgValues: ['ES384'] },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo(ctx, resource) {
          if (resource !== settings.resource) throw new errors.InvalidTarget();
          return {
            audience: resource,
            scope: settings.scopes.join(' '),
            accessTokenFormat: 'jwt',
            accessTokenTTL: 3600,
            jwt: { sign: { alg: 'ES384' } },
          };
        },
      },
    },
  });
  server.on('request', provider.callback());
  console.log(issuer);
});
