package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// compare asks several servers the same in turn, so that whatever else the
// machine does touches all of them alike, and prints how the times grow from the
// first server to the last.
func compare(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("compare", flag.ExitOnError)
	urls := flags.String("urls", "", "servers, separated by commas, the smallest library first")
	keys := flags.String("api-keys", "", "their keys, in the same order")
	rounds := flags.Int("rounds", 200, "requests to each server for each case")
	only := flags.String("only", "", "measure only the cases whose name holds this")
	rest := flags.Bool("rest", false, "everything but the asset lists")
	flags.Parse(args)
	var clients []*client
	var cases [][]benchCase
	for i, base := range strings.Split(*urls, ",") {
		c := &client{base: base, key: at(*keys, i), http: &http.Client{}}
		find := func() ([]benchCase, error) { return c.cases(ctx) }
		if *rest {
			find = func() ([]benchCase, error) { return c.contractCases(ctx) }
		}
		own, err := find()
		if err != nil {
			return err
		}
		clients, cases = append(clients, c), append(cases, own)
	}
	header, line := "| request |", "|---|"
	for range clients {
		header, line = header+" p50 / p99 ms |", line+"--:|"
	}
	fmt.Println(header + " last : first |\n" + line + "--:|")
	for _, test := range cases[len(cases)-1] {
		if !strings.Contains(test.name, *only) {
			continue
		}
		times := make([][]time.Duration, len(clients))
		same := make([]benchCase, len(clients))
		for n := range clients {
			i := slices.IndexFunc(cases[n], func(other benchCase) bool { return other.name == test.name })
			if i < 0 { // a small library has no deep page
				i = slices.IndexFunc(cases[n], func(other benchCase) bool { return other.name == strings.Replace(test.name, "deep", "first", 1) })
			}
			if i < 0 {
				return fmt.Errorf("%s has nothing to compare with for %q", clients[n].base, test.name)
			}
			same[n] = cases[n][i]
		}
		for range *rounds {
			for n, c := range clients {
				own := same[n]
				begin := time.Now()
				if _, err := c.do(ctx, own); err != nil {
					return err
				}
				times[n] = append(times[n], time.Since(begin))
			}
		}
		row := "| " + test.name + " |"
		for n := range times {
			slices.Sort(times[n])
			row += fmt.Sprintf(" %.2f / %.2f |", ms(middle(times[n])), ms(times[n][len(times[n])*99/100]))
		}
		fmt.Printf("%s %.2f |\n", row, float64(middle(times[len(times)-1]))/float64(middle(times[0])))
	}
	return nil
}

func middle(sorted []time.Duration) time.Duration { return sorted[len(sorted)/2] }

// at is one value of a list separated by commas; "" when there are fewer.
func at(list string, i int) string {
	values := strings.Split(list, ",")
	if i >= len(values) {
		return ""
	}
	return values[i]
}
