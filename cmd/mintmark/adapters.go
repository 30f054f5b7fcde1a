package main

import (
	"encoding/json"

	"github.com/mintmark/mintmark"
	"github.com/mintmark/mintmark/internal/authority"
)

// The types of this file fit one role's method set to the few methods that
// another asks for. They decide nothing.

type gatewayID = mintmark.GatewayID

// clientSecrets makes client secrets for control.
type clientSecrets struct{ *authority.Authority }

func (s clientSecrets) NewClientSecret() (string, json.RawMessage, error) {
	v, stored, err := s.Authority.NewClientSecret()
	if err != nil {
		return "", nil, err
	}
	b, err := json.Marshal(stored)
	return v.Reveal(), b, err
}
