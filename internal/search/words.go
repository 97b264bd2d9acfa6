// Package search turns texts into words and merges rankings. What finds the words
// is the database's; what ranks by meaning plugs in as another Ranking.
package search

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

const (
	// maxWord bounds a word, in bytes; longer ones are cut.
	maxWord = 64
	// maxDocument bounds the words of one document.
	maxDocument = 2000
	// maxTerms bounds the words of a query that count.
	maxTerms = 16
)

// Term is one thing to look for: words that stand next to each other.
type Term struct {
	Words []string // one, but for scripts without spaces, whose characters are words
	// Prefix lets the last word be the beginning of one: somebody is still typing.
	Prefix bool
}

// In tells whether a document, as Document made it, holds the term.
func (t Term) In(document string) bool {
	text := " " + strings.Join(t.Words, " ")
	if !t.Prefix {
		text += " "
	}
	return strings.Contains(" "+document+" ", text)
}

// fold brings what people take for the same letter to one form: compatibility
// forms apart, accents off, lower case (Unicode NFKD without marks).
func fold(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return unicode.ToLower(r)
	}, norm.NFKD.String(strings.ToValidUTF8(text, " ")))
}

// class says what belongs together in a word.
type class int

const (
	gap class = iota
	letter
	capital
	digit
	ideograph
)

func classOf(r rune) class {
	switch {
	case unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar):
		return ideograph // no spaces between words: each character is one
	case unicode.IsUpper(r):
		return capital
	case unicode.IsLetter(r):
		return letter
	case unicode.IsNumber(r):
		return digit
	}
	return gap
}

// run is a stretch of a text without gaps: its parts, which begin where letters
// and digits meet and where capitals begin, or ideographs.
type run struct {
	parts      []string
	ideographs bool
}

func runs(text string) (all []run) {
	var parts []string
	var part strings.Builder
	endPart := func() {
		if part.Len() > 0 {
			parts = append(parts, part.String())
			part.Reset()
		}
	}
	endRun := func(ideographs bool) {
		endPart()
		if len(parts) > 0 {
			all = append(all, run{parts, ideographs})
			parts = nil
		}
	}
	before := gap
	for _, r := range text {
		if unicode.Is(unicode.M, r) { // belongs to the letter before it
			if before != gap {
				part.WriteRune(r)
			}
			continue
		}
		now := classOf(r)
		if (now == ideograph) != (before == ideograph) || now == gap {
			endRun(before == ideograph)
		} else if now == ideograph || (now == digit) != (before == digit) || now == capital && before == letter {
			endPart()
		}
		if now != gap {
			part.WriteRune(r)
		}
		before = now
	}
	endRun(before == ideograph)
	return all
}

func cutWord(word string) string {
	if len(word) <= maxWord {
		return word
	}
	word = word[:maxWord]
	for !utf8.ValidString(word) {
		word = word[:len(word)-1]
	}
	return word
}

// words folds and cuts parts; what folding leaves nothing of is dropped.
func words(parts []string) (all []string) {
	for _, part := range parts {
		for _, word := range strings.FieldsFunc(fold(part), func(r rune) bool { return classOf(r) == gap }) {
			all = append(all, cutWord(word))
		}
	}
	return all
}

// Document is what is kept of texts to be found by: their words, separated by
// spaces, each run of letters and digits both whole and in its parts.
func Document(texts ...string) string {
	var all []string
	for _, text := range texts {
		for _, run := range runs(text) {
			parts := words(run.parts)
			all = append(all, parts...)
			if len(parts) > 1 && !run.ideographs {
				all = append(all, cutWord(strings.Join(parts, "")))
			}
		}
		if len(all) > maxDocument {
			all = all[:maxDocument]
			break
		}
	}
	return strings.Join(all, " ")
}

// Terms are what a query asks for, each once. The last one may be unfinished; a
// number or a single letter is taken as it is.
func Terms(query string) (terms []Term) {
	seen := map[string]bool{}
	add := func(words []string) {
		key := strings.Join(words, " ")
		if len(words) > 0 && !seen[key] && len(terms) < maxTerms {
			seen[key] = true
			terms = append(terms, Term{Words: words})
		}
	}
	for _, run := range runs(query) {
		parts := words(run.parts)
		if run.ideographs {
			add(parts)
			continue
		}
		for _, part := range parts {
			add([]string{part})
		}
	}
	if len(terms) > 0 && !strings.HasSuffix(query, " ") {
		last := &terms[len(terms)-1]
		word := last.Words[len(last.Words)-1]
		last.Prefix = utf8.RuneCountInString(word) > 1 && strings.ContainsFunc(word, unicode.IsLetter) && classOf([]rune(word)[0]) != ideograph
	}
	return terms
}
