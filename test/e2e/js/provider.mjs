// An OpenID provider that people sign in at: oidc-provider with its development
// pages, one client, any user. Prints its issuer URL, then serves until its input
// closes.
import { createServer } from 'node:http';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { Provider } from 'oidc-provider';

const key = { ...generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' }), kid: randomUUID(), alg: 'ES256', use: 'sig' };

let handle;
const server = createServer((req, res) => handle(req, res));
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  console.log(issuer);
  process.stdin.once('data', (redirect) => {
    const provider = new Provider(issuer, {
      jwks: { keys: [key] },
      clients: [{
        client_id: 'mintmark', client_secret: 'provider-secret', redirect_uris: [redirect.toString().trim()],
        token_endpoint_auth_method: 'client_secret_basic', id_token_signed_response_alg: 'ES256',
      }],
      claims: { openid: ['sub'], email: ['email', 'email_verified'] },
      conformIdTokenClaims: false,
      findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, email: `${id}@people.example`, email_verified: true }) }),
    });
    handle = provider.callback();
    console.log('ready');
  });
});
process.stdin.on('end', () => process.exit(0));
