package main

import (
	"encoding/binary"
	"fmt"
	"os"
)

// Requests are what a file of messages holds.
type Requests struct {
	preamble [][]byte
	groups   [][][]byte
}

func readRequests(path string, preamble, group int) (Requests, error) {
	messages, err := readMessages(path)
	if err != nil {
		return Requests{}, err
	}
	rest := len(messages) - preamble
	if rest <= 0 || rest%group != 0 {
		return Requests{}, fmt.Errorf("load: %d messages in %s are not %d and groups of %d", len(messages), path, preamble, group)
	}
	requests := Requests{preamble: messages[:preamble]}
	for at := preamble; at < len(messages); at += group {
		requests.groups = append(requests.groups, messages[at:at+group])
	}
	return requests, nil
}

func readMessages(path string) ([][]byte, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var messages [][]byte
	for len(content) >= 4 {
		size := int(binary.LittleEndian.Uint32(content))
		if len(content) < 4+size {
			return nil, fmt.Errorf("load: %s ends within a message", path)
		}
		messages = append(messages, content[4:4+size:4+size])
		content = content[4+size:]
	}
	return messages, nil
}
