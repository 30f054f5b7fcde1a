// Command mintmark-argo is three plugins for Argo Rollouts in one program, chosen by
// its only argument:
//
//	metricprovider   a measurement is the verdict about a service's rollout
//	trafficrouter    weights are the candidate's share at every gateway
//	step             a step that ends with the verdict, and whose abort rolls back
//
// Argo starts it (hashicorp/go-plugin over net/rpc); it reaches Mintmark's admin API
// with the credential that MINTMARK_CREDENTIAL names, a file as mintmark writes it, or
// with MINTMARK_SERVER and MINTMARK_TOKEN. The role pipeline is enough; gate is for the
// metric provider.
package main

import (
	"fmt"
	"os"

	metricrpc "github.com/argoproj/argo-rollouts/metricproviders/plugin/rpc"
	steprpc "github.com/argoproj/argo-rollouts/rollout/steps/plugin/rpc"
	trafficrpc "github.com/argoproj/argo-rollouts/rollout/trafficrouting/plugin/rpc"
	"github.com/hashicorp/go-plugin"
)

func main() {
	if len(os.Args) != 2 {
		fail("want one argument: metricprovider, trafficrouter or step")
	}
	p := &mintmarkPlugin{getenv: os.Getenv}
	served := map[string]plugin.Plugin{}
	switch os.Args[1] {
	case "metricprovider":
		served["RpcMetricProviderPlugin"] = &metricrpc.RpcMetricProviderPlugin{Impl: metric{p}}
	case "trafficrouter":
		served["RpcTrafficRouterPlugin"] = &trafficrpc.RpcTrafficRouterPlugin{Impl: traffic{p}}
	case "step":
		served["RpcStepPlugin"] = &steprpc.RpcStepPlugin{Impl: step{p}}
	default:
		fail(fmt.Sprintf("unknown plugin %q: want metricprovider, trafficrouter or step", os.Args[1]))
	}
	plugin.Serve(&plugin.ServeConfig{HandshakeConfig: handshake(os.Args[1]), Plugins: served})
}

// handshake is what Argo's controller expects of a kind of plugin.
func handshake(kind string) plugin.HandshakeConfig {
	return plugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: "ARGO_ROLLOUTS_RPC_PLUGIN", MagicCookieValue: kind}
}

func fail(what string) {
	fmt.Fprintln(os.Stderr, "mintmark-argo: "+what)
	os.Exit(2)
}
