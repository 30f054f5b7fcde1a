// Package demo answers: does the main job happen, with real tokens over real
// HTTP, and who says so? It starts the real processes (control, three gateways),
// a sample service in two releases, and a crowd of synthetic clients that obtain
// tokens through real OAuth flows and keep the score themselves: a client knows
// what it was handed, so it can tell a harmful token accepted from a harmless one
// refused without asking the product.
//
// The package knows the product only from outside: HTTP, the admin API client and
// the command line.
package demo
