// Answers the cases of rego_cases (one JSON object per line) with the reference engine. Built by tests/conformance/rego/differential.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/util"
)

type testCase struct {
	Note    string   `json:"note"`
	Modules []string `json:"modules"`
	Query   string   `json:"query"`
	Data    string   `json:"data"`
	Input   string   `json:"input"`
	Whole   bool     `json:"whole"` // no early exit: every rule is evaluated to its end
}

func run(c testCase) map[string]any {
	out := map[string]any{"note": c.Note}
	opts := []func(*rego.Rego){rego.Query(c.Query), rego.SetRegoVersion(ast.RegoV1)}
	for i, m := range c.Modules {
		opts = append(opts, rego.Module(fmt.Sprintf("module%d.rego", i), m))
	}
	if c.Data != "" {
		var data map[string]any
		if err := util.UnmarshalJSON([]byte(c.Data), &data); err == nil {
			opts = append(opts, rego.Store(inmem.NewFromObject(data)))
		}
	}
	pq, err := rego.New(opts...).PrepareForEval(context.Background())
	if err != nil {
		out["error"] = map[string]any{"stage": "compile", "message": err.Error()}
		return out
	}
	eval := []rego.EvalOption{rego.EvalEarlyExit(!c.Whole)}
	if c.Input != "" {
		var input any
		if err := util.UnmarshalJSON([]byte(c.Input), &input); err == nil {
			eval = append(eval, rego.EvalInput(input))
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // numbers.range may be told to go on and on
	defer cancel()
	rs, err := pq.Eval(ctx, eval...)
	if err != nil {
		out["error"] = map[string]any{"stage": "eval", "message": err.Error()}
		return out
	}
	results := []string{}
	for _, r := range rs {
		b, _ := json.Marshal(r.Bindings)
		results = append(results, string(b))
	}
	out["results"] = results
	return out
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(make([]byte, 1<<20), 1<<26)
	w := bufio.NewWriter(os.Stdout)
	for in.Scan() {
		var c testCase
		if json.Unmarshal(in.Bytes(), &c) != nil {
			continue
		}
		b, _ := json.Marshal(run(c))
		w.Write(b)
		w.WriteByte('\n')
		w.Flush()
	}
}
