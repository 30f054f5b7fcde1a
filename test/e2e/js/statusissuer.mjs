// A foreign issuer with a status list: the list is made by @sd-jwt/jwt-status-list
// and signed by jose. Prints its URL, then serves until its input closes.
// GET /token?idx=N&list=PATH gives an access token with that place.
import { createServer } from 'node:http';
import { generateKeyPair, exportJWK, SignJWT } from 'jose';
import { StatusList, createHeaderAndPayload } from '@sd-jwt/jwt-status-list';

const { privateKey, publicKey } = await generateKeyPair('ES256');
const jwk = { ...(await exportJWK(publicKey)), kid: 'p1', alg: 'ES256', use: 'sig' };
const now = () => Math.floor(Date.now() / 1000);
let issuer;

const statuses = new Array(4096).fill(0);
statuses[1] = 1;
statuses[2] = 2;
statuses[3] = 3;

async function list(uri) {
  const { header, payload } = createHeaderAndPayload(new StatusList(statuses, 2), { iss: issuer, sub: uri, iat: now(), exp: now() + 600, ttl: 300 }, { alg: 'ES256', typ: 'statuslist+jwt', kid: 'p1' });
  return new SignJWT(payload).setProtectedHeader(header).sign(privateKey);
}

const server = createServer(async (req, res) => {
  const url = new URL(req.url, issuer);
  if (url.pathname === '/jwks') {
    res.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: [jwk] }));
  } else if (url.pathname === '/status/1') {
    res.setHeader('content-type', 'application/statuslist+jwt').end(await list(issuer + '/status/1'));
  } else if (url.pathname === '/token') {
    const status_list = { idx: Number(url.searchParams.get('idx')), uri: issuer + url.searchParams.get('list') };
    const claims = { scope: process.env.SCOPE, client_id: 'partner', status: { status_list } };
    res.end(await new SignJWT(claims).setProtectedHeader({ alg: 'ES256', kid: 'p1', typ: 'at+jwt' }).setIssuer(issuer).setSubject('someone')
      .setAudience(process.env.AUDIENCE).setIssuedAt().setExpirationTime('5m').setJti(crypto.randomUUID()).sign(privateKey));
  } else {
    res.writeHead(404).end();
  }
});
server.listen(0, '127.0.0.1', () => {
  issuer = `http://127.0.0.1:${server.address().port}`;
  console.log(issuer);
});
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
