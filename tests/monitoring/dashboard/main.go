// Decodes a Grafana dashboard by Grafana's own schema: a field that Grafana does not know is an error.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: dashboard FILE")
	}
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		return err
	}
	plugins.RegisterDefaultPlugins()
	var decoded dashboard.Dashboard
	err = decoded.UnmarshalJSONStrict(json.RawMessage(text))
	// Without a fault it returns an empty list of faults.
	var faults cog.BuildErrors
	if err != nil && !(errors.As(err, &faults) && len(faults) == 0) {
		return fmt.Errorf("%s: %w", os.Args[1], err)
	}
	fmt.Printf("%s: %d panels\n", os.Args[1], len(decoded.Panels))
	return nil
}
