package banksia_test

import (
	"context"
	"testing"

	"github.com/banksia-photos/banksia"
)

func TestCause(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]banksia.Cause{
		"":           {},
		"id":         {RequestID: "id"},
		" trace":     {Trace: "trace"},
		"id trace-1": {RequestID: "id", Trace: "trace-1"},
	} {
		if got := want.String(); got != text {
			t.Errorf("%+v is written %q, want %q", want, got, text)
		}
		if got := banksia.ParseCause(text); got != want {
			t.Errorf("%q is read as %+v, want %+v", text, got, want)
		}
		if got := banksia.CauseOf(banksia.WithCause(context.Background(), want)); got != want {
			t.Errorf("a context keeps %+v of %+v", got, want)
		}
	}
	if got := banksia.CauseOf(context.Background()); got != (banksia.Cause{}) {
		t.Errorf("without a cause: %+v", got)
	}
}
