// A stranger who verifies our tokens without a gateway: reads the status list that
// each token refers to, checks it under our key set, and prints its tokens' statuses
// in their order as JSON.
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { getListFromStatusListJWT, getStatusListFromJWT } from '@sd-jwt/jwt-status-list';

const cfg = JSON.parse(process.env.STRANGER);
const keys = createRemoteJWKSet(new URL(`${cfg.issuer}/jwks`));
const statuses = [];
for (const token of cfg.tokens) {
  await jwtVerify(token, keys, { issuer: cfg.issuer, typ: 'at+jwt' });
  const { uri, idx } = getStatusListFromJWT(token);
  const res = await fetch(uri, { headers: { accept: 'application/statuslist+jwt' } });
  if (res.status !== 200 || res.headers.get('content-type') !== 'application/statuslist+jwt') throw new Error(`${uri}: ${res.status}`);
  const list = await res.text();
  const { payload } = await jwtVerify(list, keys, { subject: uri, issuer: cfg.issuer, typ: 'statuslist+jwt', requiredClaims: ['iat', 'exp', 'ttl'] });
  if (payload.ttl <= 0 || payload.exp <= payload.iat) throw new Error('times');
  statuses.push(getListFromStatusListJWT(list).getStatus(idx));
}
console.log(JSON.stringify(statuses));
