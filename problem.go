package mintmark

// Code is the stable member "code" of a refusal's problem details (RFC 9457):
// what a client's program may act on. Codes are never renamed.
type Code string

// Codes of refusals. The HTTP status is fixed per code, see Status.
const (
	CodeNone               Code = ""
	CodeCredentialsMissing Code = "credentials_missing" // bare challenge (RFC 6750 §3.1)
	CodeInvalidRequest     Code = "invalid_request"
	CodeMalformed          Code = "token_malformed"
	CodeExpired            Code = "token_expired"
	CodeNotYetValid        Code = "token_not_yet_valid"
	CodeRevoked            Code = "token_revoked"
	CodeSuspended          Code = "token_suspended"
	CodeSuperseded         Code = "token_superseded"
	CodeSignature          Code = "signature_invalid"
	CodeKeyUnknown         Code = "key_unknown"
	CodeIssuerUnknown      Code = "issuer_unknown"
	CodeAudience           Code = "audience_mismatch"
	CodeScope              Code = "scope_insufficient"
	CodeBinding            Code = "binding_invalid"
	CodeUseNonce           Code = "use_dpop_nonce"
	CodeAuthentication     Code = "authentication_insufficient" // RFC 9470
	CodeReleaseRetired     Code = "release_retired"
	CodePolicyRefused      Code = "policy_refused"
	CodeStateUnknown       Code = "state_unknown"
	CodeNoRoute            Code = "no_route"
	CodeRateLimited        Code = "rate_limited"
	CodeUpstream           Code = "upstream_unavailable"
	CodeTooLarge           Code = "body_too_large"
)

// Status returns the HTTP status that goes with the code; 200 for CodeNone and
// 401 for a code not in the table, because an unknown refusal of a token must
// not admit it.
func (c Code) Status() int {
	switch c {
	case CodeNone:
		return 200
	case CodeInvalidRequest:
		return 400
	case CodeScope, CodePolicyRefused:
		return 403
	case CodeNoRoute:
		return 404
	case CodeTooLarge:
		return 413
	case CodeRateLimited:
		return 429
	case CodeUpstream:
		return 502
	case CodeStateUnknown:
		return 503
	}
	return 401
}
