package testkit_test

import (
	"context"
	"fmt"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/mintmark/mintmark/testkit"
)

// A service's check of tokens is tested without waiting for them to end.
func Example() {
	ctx := context.Background()
	iss, err := testkit.Start(ctx, testkit.Config{Audience: "https://orders.example"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer iss.Close()

	// The service under test: any code that checks a token by the machine's clock.
	keys := oidc.NewRemoteKeySet(ctx, iss.URL()+"/jwks")
	check := oidc.NewVerifier(iss.URL(), keys, &oidc.Config{ClientID: "https://orders.example", SupportedSigningAlgs: []string{"ES256"}})
	accepts := func(t testkit.Token) bool {
		value, err := iss.Present(t)
		if err != nil {
			return false
		}
		_, err = check.Verify(ctx, value)
		return err == nil
	}

	good, _ := iss.Mint(ctx, testkit.MintRequest{Subject: "ada", Lifetime: time.Hour})
	forged, _ := iss.Mint(ctx, testkit.MintRequest{Subject: "ada", Fault: testkit.WrongSignature})
	fmt.Println(accepts(good), accepts(forged))
	iss.Advance(time.Hour)
	fmt.Println(accepts(good))
	// Output:
	// true false
	// false
}
