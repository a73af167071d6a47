// Command kubectl is Kubernetes' own, built from its published module.
package main

import (
	"os"

	_ "k8s.io/client-go/plugin/pkg/client/auth" // every way to authenticate
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
)

func main() {
	// The command is built before its flags are parsed, and -v shall count from the start.
	_, _ = logs.GlogSetter(cmd.GetLogVerbosity(os.Args))
	if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
		util.CheckErr(err)
	}
}
