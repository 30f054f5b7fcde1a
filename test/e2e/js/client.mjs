// A stranger's client: openid-client against the real authority. Prints one line
// "ok <what>" per check; any failure ends it with status 1.
import * as oidc from 'openid-client';
import { signIn } from './browser.mjs';

const cfg = JSON.parse(process.env.STRANGER);
const insecure = { execute: [oidc.allowInsecureRequests] };
const ok = (what) => console.log(`ok ${what}`);
const must = (cond, what) => {
  if (!cond) throw new Error(what);
};

const web = await oidc.discovery(new URL(cfg.issuer), cfg.publicClient, undefined, oidc.None(), insecure);
ok('discovery');

async function codeFlow(config, extra = {}, options = {}) {
  const verifier = oidc.randomPKCECodeVerifier();
  const state = oidc.randomState();
  const nonce = oidc.randomNonce();
  const params = {
    redirect_uri: cfg.redirect, scope: `openid offline_access ${cfg.scope}`, resource: cfg.audience, state, nonce,
    code_challenge: await oidc.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256', ...extra,
  };
  const url = options.par ? await oidc.buildAuthorizationUrlWithPAR(config, params, { DPoP: options.DPoP }) : oidc.buildAuthorizationUrl(config, params);
  const back = await signIn(url, cfg.redirect, cfg.user, cfg.password);
  return oidc.authorizationCodeGrant(config, back, { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce }, undefined, { DPoP: options.DPoP });
}

const call = async (token, type = 'Bearer', headers = {}) => {
  const res = await fetch(`${cfg.gateway}/orders/1`, { headers: { authorization: `${type} ${token}`, ...headers } });
  return res.status;
};

const tokens = await codeFlow(web);
must(tokens.claims().sub, 'the ID token has a subject');
must(await call(tokens.access_token) === 200, 'the gateway takes the access token');
ok('code + PKCE');

const me = await oidc.fetchUserInfo(web, tokens.access_token, tokens.claims().sub);
must(me.sub === tokens.claims().sub, 'userinfo is of the same subject');
ok('userinfo');

const renewed = await oidc.refreshTokenGrant(web, tokens.refresh_token);
must(renewed.refresh_token && renewed.refresh_token !== tokens.refresh_token, 'the refresh token rotates');
const retried = await oidc.refreshTokenGrant(web, tokens.refresh_token);
must(retried.refresh_token === renewed.refresh_token, 'a retry within grace gets the same successor');
must(await call(renewed.access_token) === 200, 'the gateway takes the renewed token');
ok('refresh, rotation, retry within grace');

const par = await codeFlow(web, {}, { par: true });
must(await call(par.access_token) === 200, 'a token by pushed request works');
ok('pushed authorization request');

const DPoP = oidc.getDPoPHandle(web, await oidc.randomDPoPKeyPair());
const bound = await codeFlow(web, {}, { DPoP });
must(bound.token_type.toLowerCase() === 'dpop', 'the token is bound');
must(await call(bound.access_token) === 401, 'a bound token without proof is refused');
const viaDpop = async () => oidc.fetchProtectedResource(web, bound.access_token, new URL(`${cfg.gateway}/orders/1`), 'GET', undefined, undefined, { DPoP });
must((await viaDpop()).status === 200, 'a bound token with its proof is taken');
ok('DPoP');

const svc = await oidc.discovery(new URL(cfg.issuer), cfg.confidentialClient, cfg.confidentialSecret, undefined, insecure);
const machine = await oidc.clientCredentialsGrant(svc, { scope: cfg.scope, resource: cfg.audience });
must(await call(machine.access_token) === 200, 'the gateway takes a machine token');
ok('client credentials');

const seen = await oidc.tokenIntrospection(svc, machine.access_token);
must(seen.active === true && seen.client_id === cfg.confidentialClient, 'introspection tells it is active');
await oidc.tokenRevocation(svc, machine.access_token);
const gone = await oidc.tokenIntrospection(svc, machine.access_token);
must(gone.active === false && Object.keys(gone).length === 1, 'introspection of a revoked token says nothing more');
must(await call(machine.access_token) === 401, 'the gateway refuses the revoked token');
ok('introspection and revocation');

await oidc.tokenRevocation(web, renewed.refresh_token);
let refused = '';
try {
  await oidc.refreshTokenGrant(web, renewed.refresh_token);
} catch (e) {
  refused = e.error;
}
must(refused === 'invalid_grant', `a revoked refresh token is an invalid_grant, not ${refused}`);
must(await call(renewed.access_token) === 401, 'revoking a refresh token takes its access tokens along');
ok('revocation cascades');
