// Package identity answers: by which header fields is a service told whose request
// it gets, and which fields must nobody else send it?
//
// Our own gateway and the decision endpoint for other gateways tell the same fields,
// always all of them: a field that is absent might be filled by somebody in front.
// All is pure and safe for concurrent use.
package identity

import (
	"strconv"
	"strings"

	"github.com/mintmark/mintmark"
)

// Fields that say who asks. Each is there on every request, empty where there is
// nothing to say.
const (
	TokenID = "Mintmark-Token-Id"
	Subject = "Mintmark-Token-Subject"
	Client  = "Mintmark-Token-Client"
	// Actor is who acts for the subject (RFC 8693 §4.1).
	Actor = "Mintmark-Token-Actor"
	// State is the word of a TokenState; of an admitted token it is active.
	State = "Mintmark-Token-State"
	// Scopes are separated by spaces.
	Scopes = "Mintmark-Token-Scopes"
	// Expires is in Unix seconds; empty is never.
	Expires = "Mintmark-Token-Expires"
	// Release is the one that minted the token.
	Release = "Mintmark-Token-Release"
	// Epoch is the fence, there without a token too: a service that remembers the
	// highest it saw refuses what comes with a lower one.
	Epoch = "Mintmark-Token-Epoch"
)

// Further fields of ours.
const (
	// Claims are the token's claims in the shape of the release that serves, as
	// base64url JSON; sent when its policy maps them.
	Claims = "Mintmark-Token-Claims"
	// RenewAfter and MustRenew tell the client when to renew, in answers.
	RenewAfter = "Mintmark-Renew-After"
	MustRenew  = "Mintmark-Must-Renew"
)

// Names returns the fields that say who asks, in the order of Values.
func Names() [9]string {
	return [...]string{TokenID, Subject, Client, Actor, State, Scopes, Expires, Release, Epoch}
}

// Values returns what the fields say of t, in the order of Names; a nil t is nobody.
// Strangers choose some of them: they must be made fit for a header
// (web.SafeValue). epoch is the number decided under, as text.
func Values(t *mintmark.Token, state mintmark.TokenState, epoch string) [9]string {
	if t == nil {
		return [9]string{8: epoch}
	}
	expires := ""
	if t.Expires != 0 {
		expires = strconv.FormatInt(t.Expires, 10)
	}
	return [...]string{
		string(t.ID), t.Subject, string(t.Client), t.Actor, state.String(), Joined(t.Scopes), expires, string(t.Mark.Release), epoch,
	}
}

// Joined is scopes as one value (RFC 6749 §3.3).
func Joined(scopes []string) string {
	if len(scopes) == 1 {
		return scopes[0]
	}
	return strings.Join(scopes, " ")
}
