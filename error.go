package banksia

import (
	"errors"
	"fmt"
	"time"
)

// Code classifies an error for clients; internal/api maps each to one status.
type Code string

const (
	CodeInvalidRequest      Code = "bad_request"          // the request cannot be resolved as it stands
	CodeUnauthorized        Code = "unauthorized"         // no, invalid or expired credential
	CodeForbidden           Code = "forbidden"            // the credential lacks the action
	CodeNotFound            Code = "not_found"            // unknown, or not the caller's: indistinguishable
	CodeMethodNotAllowed    Code = "method_not_allowed"   // the path exists, the method does not
	CodeConflict            Code = "conflict"             // a concurrent or illegal state
	CodeValidation          Code = "validation_error"     // some input is out of range or malformed
	CodeRateLimited         Code = "rate_limited"         // too many requests
	CodeStorage             Code = "storage_unavailable"  // storage failed for now
	CodeInsufficientStorage Code = "insufficient_storage" // a cap is reached or the disk is full
	CodeUnavailable         Code = "unavailable"          // the server is busy or stopping
	CodeInternal            Code = "internal_error"
)

// Error is a failure that a client may see. Everything else that goes wrong is
// an internal error whose text stays in the log.
type Error struct {
	Code    Code
	Message string        // for the client: a full sentence, no internals
	Fields  []FieldError  // what was invalid, for CodeValidation
	Retry   time.Duration // when a repeat may help; 0: not said
	Final   bool          // a repeat at once cannot help
	Err     error         // cause: logged, never sent
}

// FullRetry is when to ask again after a full disk: somebody has to make room.
// Programs that repeat by themselves are told not to (Final): it would be too soon.
const FullRetry = time.Minute

// FieldError is one invalid input.
type FieldError struct {
	Loc  []string // where: "query", "limit"
	Msg  string   // what is wrong
	Type string   // machine code of the problem, such as "value_error"
}

func (e *Error) Error() string {
	text := fmt.Sprintf("%s: %s", e.Code, e.Message)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an Error whose message is for the client.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// NotFound is the answer for an entity that does not exist or belongs to
// somebody else.
func NotFound(what string) *Error { return Errorf(CodeNotFound, "%s not found.", what) }

// Invalid is a validation error about one input: source is "query", "path",
// "body" or "header".
func Invalid(source, name, format string, args ...any) *Error {
	msg := fmt.Sprintf(format, args...)
	return &Error{
		Code:    CodeValidation,
		Message: name + ": " + msg,
		Fields:  []FieldError{{Loc: []string{source, name}, Msg: msg, Type: "value_error"}},
	}
}

// ErrorCode is the code of err: its own if it is an *Error, else CodeInternal;
// "" for nil.
func ErrorCode(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}
