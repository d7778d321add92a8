package accounts

import (
	"context"

	"github.com/go-kit/log"
)

// New returns an Account. The error is about its TLS settings, and quotes nothing of them.
func New(config Config, logger log.Logger) (*Account, error) {
	transport, err := newTransport(context.Background(), config)
	if err != nil {
		return nil, err
	}
	return newState(config, transport, logger).account(config), nil
}
