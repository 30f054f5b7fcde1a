package e2e

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// The clients that most Go programs use: x/oauth2 for the flows, go-oidc for
// discovery, ID tokens and userinfo.
func TestGoOIDC(t *testing.T) {
	t.Parallel()
	w := newWorld(t, option{})
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, w.client)
	provider, err := oidc.NewProvider(ctx, w.issuer)
	if err != nil {
		t.Fatal(err)
	}
	c := &oauth2.Config{ClientID: "web", RedirectURL: redirect, Endpoint: provider.Endpoint(), Scopes: []string{"openid", "profile", "offline_access", "orders.read"}}
	verifier := oauth2.GenerateVerifier()
	b := newBrowser(t, nil)
	b.open(authorizeURL(c, verifier, "resource", audience, "nonce", "n-1"))
	q := b.through()
	if q.Get("iss") != w.issuer || q.Get("state") != "state-of-"+verifier[:8] {
		t.Errorf("the redirect names iss %q and state %q", q.Get("iss"), q.Get("state"))
	}
	got, err := c.Exchange(ctx, q.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := got.Extra("id_token").(string)
	id, err := provider.Verifier(&oidc.Config{ClientID: "web"}).Verify(ctx, raw)
	if err != nil {
		t.Fatalf("go-oidc refuses the ID token: %v", err)
	}
	if id.Nonce != "n-1" || id.Subject != user {
		t.Errorf("the ID token says nonce %q, subject %q", id.Nonce, id.Subject)
	}
	if err := id.VerifyAccessToken(got.AccessToken); err != nil {
		t.Errorf("at_hash: %v", err)
	}
	w.want("a call with the access token", w.call(got.AccessToken), 200, "")
	w.want("a call with the ID token", w.call(raw), 401, "")

	info, err := provider.UserInfo(ctx, oauth2.StaticTokenSource(got))
	if err != nil {
		t.Fatalf("userinfo: %v", err)
	}
	if info.Subject != user {
		t.Errorf("userinfo is about %q", info.Subject)
	}

	// A resource server that verifies by itself, with our published keys.
	at, err := provider.Verifier(&oidc.Config{ClientID: audience}).Verify(ctx, got.AccessToken)
	if err != nil || !slices.Contains(at.Audience, audience) {
		t.Errorf("the access token does not verify with the published keys: %v", err)
	}

	// x/oauth2 renews by itself once a token is over.
	got.Expiry = time.Now().Add(-time.Minute)
	renewed, err := c.TokenSource(ctx, got).Token()
	if err != nil {
		t.Fatalf("renew: %v", err)
	}
	if renewed.AccessToken == got.AccessToken || renewed.RefreshToken == got.RefreshToken {
		t.Error("renewing did not rotate")
	}
	w.want("a call with the renewed token", w.call(renewed.AccessToken), 200, "")

	// A code is good once; and a second use takes back what the first one gave.
	_, err = c.Exchange(ctx, q.Get("code"), oauth2.VerifierOption(verifier))
	if err == nil || !strings.Contains(err.Error(), "invalid_grant") {
		t.Errorf("the code was redeemed twice: %v", err)
	}
	w.want("a call after the code was used twice", w.call(renewed.AccessToken), 401, "token_revoked")
}

func TestDeviceFlow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, option{resources: `---
apiVersion: mintmark/v1
kind: Client
name: tv
title: A television
grants: [device_code, refresh_token]
scopes: [orders.read, offline_access]
`})
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, w.client)
	c := w.oauth("tv", "orders.read", "offline_access")
	begin := func() *oauth2.DeviceAuthResponse {
		t.Helper()
		d, err := c.DeviceAuth(ctx, oauth2.SetAuthURLParam("resource", audience))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	answer := func(d *oauth2.DeviceAuthResponse, press string) {
		t.Helper()
		b := newBrowser(t, nil)
		b.press = press
		b.open(d.VerificationURI)
		b.fields["user_code"] = strings.ToLower(d.UserCode) // as people type it
		b.submit()
		b.submit() // sign in
		if !strings.Contains(b.page, "A television") {
			t.Fatalf("consent does not name the device: %s", b.page)
		}
		b.submit()
	}

	d := begin()
	poll := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {d.DeviceCode}}
	if a := w.token(w.client, poll, "tv", ""); a.Error != "authorization_pending" {
		t.Errorf("a poll before the person's answer: %s", a.Error)
	}
	if a := w.token(w.client, poll, "tv", ""); a.Error != "slow_down" {
		t.Errorf("a poll too soon: %s", a.Error)
	}
	answer(d, "allow")
	got, err := c.DeviceAccessToken(ctx, d)
	if err != nil {
		t.Fatal(err)
	}
	w.want("a call with the device's token", w.call(got.AccessToken), 200, "")
	if got.RefreshToken == "" {
		t.Error("the device got no refresh token")
	}
	if a := w.token(w.client, poll, "tv", ""); a.Error != "invalid_grant" {
		t.Errorf("the device code was redeemed twice: %q", a.Error)
	}

	no := begin()
	answer(no, "deny")
	if _, err := c.DeviceAccessToken(ctx, no); err == nil || !strings.Contains(err.Error(), "access_denied") {
		t.Errorf("a device that was refused: %v", err)
	}
}
