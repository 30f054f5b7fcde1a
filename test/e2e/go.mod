module github.com/mintmark/mintmark/test/e2e

go 1.26.0

require (
	github.com/coreos/go-oidc/v3 v3.21.0
	github.com/go-jose/go-jose/v4 v4.1.8
	github.com/mintmark/mintmark v0.0.0
	golang.org/x/oauth2 v0.37.0
)

require (
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/term v0.47.0 // indirect
)

replace github.com/mintmark/mintmark => ../..
