package api

import (
	"maps"
	"slices"
)

// Explanation says what a stable code means and what to do about it.
type Explanation struct {
	What string `json:"what"`
	Do   string `json:"do"`
}

// Explain returns what a stable code means.
func Explain(code string) (Explanation, bool) {
	e, ok := explanations[code]
	return e, ok
}

// Explained lists the codes that are explained, sorted.
func Explained() []string { return slices.Sorted(maps.Keys(explanations)) }

// explanations covers every code that a client of a gateway, of the authority or
// of the admin API may meet.
var explanations = map[string]Explanation{
	"credentials_missing":         {"The route needs a token and the request carried none.", "Send Authorization: Bearer TOKEN (or DPoP)."},
	"invalid_request":             {"The request is not well-formed: a repeated credential, a bad parameter, an unknown flag.", "Read the detail; nothing was changed."},
	"token_malformed":             {"The credential has the form of no token that is known here.", "Check that the whole value is sent, once, and unaltered."},
	"token_expired":               {"The token is past its end.", "Refresh it; renew earlier: answers carry Mintmark-Renew-After."},
	"token_not_yet_valid":         {"The token's nbf or iat lies in the future.", "Check the issuer's clock."},
	"token_revoked":               {"A revocation covers the token.", "mintmark token get ID names the revocation; the client must obtain a new token."},
	"token_suspended":             {"The token is refused until its suspension ends.", "mintmark token restore ends a suspension."},
	"token_superseded":            {"The refresh token was already exchanged for a successor, outside the grace window.", "If the client did not do that itself, somebody else has the token: its family is revoked."},
	"signature_invalid":           {"The token's signature does not hold under the key that it names.", "Check for altered or truncated tokens."},
	"key_unknown":                 {"The token names a key that its issuer does not publish, or one that was killed.", "mintmark key list; for other issuers check their key set."},
	"issuer_unknown":              {"Tokens of this issuer are not accepted on this route.", "Declare the issuer and name it in the service, then mintmark apply."},
	"audience_mismatch":           {"The token was minted for somebody else.", "Ask for the service's audience (resource parameter)."},
	"scope_insufficient":          {"The token lacks a scope that the route requires.", "Ask for the scope named in the challenge."},
	"binding_invalid":             {"The token is bound to a key and the request does not prove it, or proves another.", "Send a DPoP proof of the bound key, or use the bound certificate."},
	"use_dpop_nonce":              {"The proof must carry the nonce given in the answer.", "Repeat the request with that nonce."},
	"authentication_insufficient": {"The route wants a stronger or more recent login.", "Send the user through the authorization endpoint with the acr_values or max_age of the challenge."},
	"release_retired":             {"The release that minted the token was taken back, and its tokens with it.", "The client must obtain a new token; mintmark receipt list shows the rollback."},
	"policy_refused":              {"The policy in force refuses this token here.", "mintmark token get ID shows its disposition."},
	"state_unknown":               {"The gateway cannot know whether the token still holds: it has not heard from control within the route's staleness budget.", "Retry after the time given; mintmark gateway check finds the cause. It is never a verdict on the token."},
	"no_route":                    {"No route matches host, path and method.", "mintmark export shows the routes."},
	"rate_limited":                {"The route's rate limit is used up for this key.", "Retry after the time given."},
	"body_too_large":              {"The request's body is larger than the route allows.", "Send less, or raise max_body of the route."},
	"upstream_unavailable":        {"The service behind the gateway did not answer.", "Look at the service; mintmark release list shows its addresses."},
	"invalid_file":                {"A file has mistakes; it was refused whole and nothing was changed.", "Mend each line that is named; mintmark schema has the form."},
	"not_authenticated":           {"Control did not accept the credential.", "mintmark login, or set MINTMARK_TOKEN."},
	"not_authorised":              {"The credential's role does not allow this.", "Ask for the role named: viewer, operator, security or admin."},
	"not_found":                   {"There is no such thing.", "The noun's list command shows what there is."},
	"already_done":                {"It was done under the same idempotency key. Secrets and tokens are shown once and kept nowhere.", "Do what the answer's fix says: rotate the secret or key, or issue another token."},
	"conflict":                    {"Something changed meanwhile, or is not in the state that this needs.", "Look again and decide again."},
	"confirmation_required":       {"The selector may cover tokens of many subjects.", "Look at it with --dry-run, then confirm with -y or by typing the text."},
	"precondition_failed":         {"A precondition of the request did not hold.", "Look again and decide again."},
	"not_rollback_safe":           {"Rolling back would strand harmless tokens.", "mintmark rollout plan shows which; add a map or accept, or go on with --unsafe."},
	"refused_by_gateway":          {"A gateway could not prepare the change; nothing was committed.", "Its reason is in the detail."},
	"too_large":                   {"The request is larger than allowed.", "Split it."},
	"not_supported":               {"This build or server does not do that.", "Check versions with mintmark version and mintmark status."},
	"unavailable":                 {"Control cannot do it at this moment; nothing was changed.", "Retry; mintmark doctor looks for the cause."},
	"outcome_unknown":             {"The connection broke before the answer: the change may have been made.", "Send it again with the same --idempotency-key: it is made once."},
	"internal":                    {"Control failed in a way it should not.", "Its log has the request's id."},
	"control_unreachable":         {"No connection to control.", "Check --server and that it runs; gateways go on within their budgets."},
	"interrupted":                 {"You ended the command; what it asked for may still happen.", "Look with status or receipt list."},
	"answer_unintelligible":       {"Something other than control answered.", "Check the address and what stands in between."},
}
