// A foreign issuer: oidc-provider on a free loopback port, JWT access tokens for
// one resource. Prints its issuer URL, then serves until its input closes.
// POST /rotate replaces its signing key (a new kid).
import { createServer } from 'node:http';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { Provider } from 'oidc-provider';

const audience = process.env.AUDIENCE;
const scope = process.env.SCOPE;
const key = () => ({ ...generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' }), kid: randomUUID(), alg: 'ES256', use: 'sig' });

const make = (issuer, keys) => {
  const provider = new Provider(issuer, {
    jwks: { keys },
    clients: [{ client_id: 'partner', client_secret: process.env.SECRET, grant_types: ['client_credentials'], redirect_uris: [], response_types: [], id_token_signed_response_alg: 'ES256' }],
    scopes: [scope],
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => audience,
        getResourceServerInfo: () => ({ scope, audience, accessTokenFormat: 'jwt', accessTokenTTL: 300, jwt: { sign: { alg: 'ES256' } } }),
      },
    },
  });
  provider.proxy = false;
  return provider.callback();
};

let handle;
const server = createServer((req, res) => {
  if (req.method === 'POST' && req.url === '/rotate') {
    handle = make(issuer, [key()]);
    res.writeHead(204).end();
    return;
  }
  handle(req, res);
});
let issuer;
server.listen(0, '127.0.0.1', () => {
  issuer = `http://127.0.0.1:${server.address().port}`;
  handle = make(issuer, [key()]);
  console.log(issuer);
});
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
