package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
)

type statusError int

func (s statusError) Error() string { return fmt.Sprintf("HTTP %d", int(s)) }

// posts sends requests by HTTP/1.1 on connections that stay open, one for each call in flight.
func posts(o Options, requests Requests) (Call, error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConns: 0, MaxIdleConnsPerHost: mostOpen, DisableCompression: true}}
	return func(ctx context.Context, _, request int) ([][]byte, error) {
		body := bytes.NewReader(requests.groups[request][0])
		message, err := http.NewRequestWithContext(ctx, http.MethodPost, o.Target, body)
		if err != nil {
			return nil, err
		}
		message.Header.Set("Content-Type", o.ContentType)
		answer, err := client.Do(message)
		if err != nil {
			return nil, err
		}
		defer answer.Body.Close()
		content, err := io.ReadAll(answer.Body)
		if err == nil && answer.StatusCode != http.StatusOK {
			err = statusError(answer.StatusCode)
		}
		return [][]byte{content}, err
	}, nil
}
