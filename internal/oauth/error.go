package oauth

import (
	"strings"
)

// ErrorCode is a value of the registry "OAuth Extensions Error".
type ErrorCode string

// Error codes, with the RFC that defines them.
const (
	InvalidRequest          ErrorCode = "invalid_request"           // 6749 §4.1.2.1, §5.2
	InvalidClient           ErrorCode = "invalid_client"            // 6749 §5.2
	InvalidGrant            ErrorCode = "invalid_grant"             // 6749 §5.2
	UnauthorizedClient      ErrorCode = "unauthorized_client"       // 6749 §4.1.2.1, §5.2
	UnsupportedGrantType    ErrorCode = "unsupported_grant_type"    // 6749 §5.2
	InvalidScope            ErrorCode = "invalid_scope"             // 6749 §4.1.2.1, §5.2
	AccessDenied            ErrorCode = "access_denied"             // 6749 §4.1.2.1
	UnsupportedResponseType ErrorCode = "unsupported_response_type" // 6749 §4.1.2.1
	ServerError             ErrorCode = "server_error"              // 6749 §4.1.2.1
	TemporarilyUnavailable  ErrorCode = "temporarily_unavailable"   // 6749 §4.1.2.1
	InvalidToken            ErrorCode = "invalid_token"             // 6750 §3.1
	InsufficientScope       ErrorCode = "insufficient_scope"        // 6750 §3.1
	UnsupportedTokenType    ErrorCode = "unsupported_token_type"    // 7009 §2.2.1
	AuthorizationPending    ErrorCode = "authorization_pending"     // 8628 §3.5
	SlowDown                ErrorCode = "slow_down"                 // 8628 §3.5
	ExpiredToken            ErrorCode = "expired_token"             // 8628 §3.5
	InvalidTarget           ErrorCode = "invalid_target"            // 8707 §2, 8693 §2.2.2
	InvalidRequestURI       ErrorCode = "invalid_request_uri"       // OIDC Core §3.1.2.6, 9126
	InvalidRequestObject    ErrorCode = "invalid_request_object"    // OIDC Core §3.1.2.6, 9101
	RequestNotSupported     ErrorCode = "request_not_supported"     // OIDC Core §3.1.2.6
	InvalidDPoPProof        ErrorCode = "invalid_dpop_proof"        // 9449 §5, §7.1
	UseDPoPNonce            ErrorCode = "use_dpop_nonce"            // 9449 §8, §9
	InsufficientUserAuth    ErrorCode = "insufficient_user_authentication"
	LoginRequired           ErrorCode = "login_required"   // OIDC Core §3.1.2.6
	ConsentRequired         ErrorCode = "consent_required" // OIDC Core §3.1.2.6
	InteractionRequired     ErrorCode = "interaction_required"
)

// Error is what an OAuth endpoint answers. Description is for the client's
// developer and never holds a cause from inside.
type Error struct {
	Code        ErrorCode `json:"error"`
	Description string    `json:"error_description,omitempty"`
}

// NewError returns an error whose description is reduced to the characters that
// RFC 6749 §5.2 allows, and to 200 bytes: callers may quote what they were sent.
func NewError(code ErrorCode, description string) *Error {
	return &Error{code, Printable(description, 200)}
}

// Error implements error.
func (e *Error) Error() string {
	if e.Description == "" {
		return string(e.Code)
	}
	return string(e.Code) + ": " + e.Description
}

// Status returns the HTTP status at the token endpoint and its likes: RFC 6749
// §5.2 for most, with 401 for a client that failed to authenticate and 503 where
// the state is not known.
func (e *Error) Status() int {
	switch e.Code {
	case InvalidClient, InvalidToken:
		return 401
	case InsufficientScope:
		return 403
	case ServerError:
		return 500
	case TemporarilyUnavailable:
		return 503
	}
	return 400
}

// Printable keeps the characters of RFC 6749 Appendix A.7 (%x20-21 / %x23-5B /
// %x5D-7E), replaces others by "?", and cuts at limit bytes.
func Printable(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
	}
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e || r == '"' || r == '\\' {
			return '?'
		}
		return r
	}, s)
}
