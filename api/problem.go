package api

import (
	"errors"
	"fmt"
	"strings"

	"github.com/mintmark/mintmark"
)

// Code is the stable member "code" of the admin API's problem details (RFC
// 9457): what a program may act on. Codes are never renamed.
type Code string

// Codes of the admin API.
const (
	CodeInvalid       Code = "invalid_request"
	CodeInvalidFile   Code = "invalid_file" // resources refused whole; see Problem.Errors
	CodeUnauthorized  Code = "not_authenticated"
	CodeForbidden     Code = "not_authorised"
	CodeNotFound      Code = "not_found"
	CodeConflict      Code = "conflict"
	CodeShown         Code = "already_done"          // under the same idempotency key; what it showed is kept nowhere
	CodeConfirm       Code = "confirmation_required" // see Problem.Confirm
	CodePrecondition  Code = "precondition_failed"
	CodeNotSafe       Code = "not_rollback_safe"
	CodeRefused       Code = "refused_by_gateway"
	CodeTooLarge      Code = "too_large"
	CodeNotSupported  Code = "not_supported"
	CodeUnavailable   Code = "unavailable"
	CodeOutcome       Code = "outcome_unknown" // retry with the same idempotency key
	CodeInternal      Code = "internal"
	CodeUnreachable   Code = "control_unreachable" // made by the client
	CodeInterrupted   Code = "interrupted"         // made by the client
	CodeUnintelligble Code = "answer_unintelligible"
)

var codeStatus = map[Code]int{
	CodeInvalid: 400, CodeInvalidFile: 422, CodeUnauthorized: 401, CodeForbidden: 403, CodeNotFound: 404,
	CodeConflict: 409, CodeShown: 409, CodeConfirm: 428, CodePrecondition: 412, CodeNotSafe: 409, CodeRefused: 409,
	CodeTooLarge: 413, CodeNotSupported: 501, CodeUnavailable: 503, CodeOutcome: 504, CodeInternal: 500,
}

// Status returns the HTTP status that goes with the code; 500 for a code that is
// not in the table.
func (c Code) Status() int {
	if s, ok := codeStatus[c]; ok {
		return s
	}
	return 500
}

// Problem is an error as the admin API answers it (application/problem+json) and
// as the client returns it: what happened, where, and how to mend it.
type Problem struct {
	Type   string `json:"type,omitempty"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Code   Code   `json:"code"`
	// Fix is what a person can do about it, often a command.
	Fix string `json:"fix,omitempty"`
	// Confirm is the text to send back as the request's confirm member.
	Confirm string `json:"confirm,omitempty"`
	// RequestID finds the request in control's log.
	RequestID string       `json:"request_id,omitempty"`
	Errors    []FieldError `json:"errors,omitempty"`
}

// FieldError is one of several errors of a request or a file.
type FieldError struct {
	// Location is file:line:col for files, a path such as body.weight otherwise.
	Location string `json:"location,omitempty"`
	Message  string `json:"message"`
	Fix      string `json:"fix,omitempty"`
}

// NewProblem makes a problem of a code.
func NewProblem(code Code, detail, fix string) *Problem {
	return &Problem{Title: titles[code], Status: code.Status(), Detail: detail, Code: code, Fix: fix}
}

var titles = map[Code]string{
	CodeInvalid: "Invalid request", CodeInvalidFile: "Invalid resources", CodeUnauthorized: "Not authenticated",
	CodeForbidden: "Not authorised", CodeNotFound: "Not found", CodeConflict: "Conflict", CodeShown: "Already done", CodeConfirm: "Confirmation required",
	CodePrecondition: "Precondition failed", CodeNotSafe: "Not rollback-safe", CodeRefused: "Refused by a gateway",
	CodeTooLarge: "Too large", CodeNotSupported: "Not supported", CodeUnavailable: "Unavailable",
	CodeOutcome: "Outcome unknown", CodeInternal: "Internal error", CodeUnreachable: "Control unreachable",
	CodeInterrupted: "Interrupted", CodeUnintelligble: "Answer unintelligible",
}

// Error implements error.
func (p *Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.Title)
	if p.Detail != "" {
		b.WriteString(": " + p.Detail)
	}
	for _, e := range p.Errors {
		b.WriteString("\n  ")
		if e.Location != "" {
			b.WriteString(e.Location + ": ")
		}
		b.WriteString(e.Message)
		if e.Fix != "" {
			b.WriteString(" (" + e.Fix + ")")
		}
	}
	return b.String()
}

// GetStatus says the HTTP status; web frameworks ask for it.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType replaces JSON's content type with that of problem details.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// Exit codes, everywhere the same.
const (
	ExitOK           = 0
	ExitFailed       = 1
	ExitUsage        = 2 // usage or invalid file
	ExitAuth         = 4
	ExitNotFound     = 5
	ExitConflict     = 6
	ExitGateFail     = 10
	ExitInconclusive = 11
	ExitWait         = 12
	ExitFenced       = 13 // rolled back or revoked, some gateways fenced
	ExitStatic       = 14 // some static routes not covered
	ExitPending      = 15 // durable, goes on by itself
	ExitNotSafe      = 20 // plan not rollback-safe
	ExitUnknown      = 30 // outcome unknown: retry with the same key
	ExitUnreachable  = 31
	ExitInterrupted  = 130
)

var codeExit = map[Code]int{
	CodeInvalid: ExitUsage, CodeInvalidFile: ExitUsage, CodeTooLarge: ExitUsage, CodeUnauthorized: ExitAuth, CodeForbidden: ExitAuth,
	CodeNotFound: ExitNotFound, CodeConflict: ExitConflict, CodeShown: ExitConflict, CodeConfirm: ExitConflict, CodePrecondition: ExitConflict,
	CodeNotSafe: ExitNotSafe, CodeOutcome: ExitUnknown, CodeUnreachable: ExitUnreachable, CodeInterrupted: ExitInterrupted,
}

// Exit returns the exit code for an error of the client: 0 for nil, 1 for
// anything that has no code of its own.
func Exit(err error) int {
	if err == nil {
		return ExitOK
	}
	var p *Problem
	if errors.As(err, &p) {
		if e, ok := codeExit[p.Code]; ok {
			return e
		}
	}
	return ExitFailed
}

// ExitOutcome returns the exit code for a receipt's outcome; an outcome that this
// version does not know is unknown, never success.
func ExitOutcome(o mintmark.Outcome) int {
	switch o {
	case mintmark.OutcomeEffective:
		return ExitOK
	case mintmark.OutcomeByLease:
		return ExitFenced
	case mintmark.OutcomeStatic:
		return ExitStatic
	case mintmark.OutcomePending:
		return ExitPending
	}
	return ExitUnknown
}

// Errorf makes a problem of a code with a formatted detail.
func Errorf(code Code, format string, args ...any) *Problem {
	return NewProblem(code, fmt.Sprintf(format, args...), "")
}
