package main

import "encoding/binary"

// A bundle of requests is field 9, one of answers field 6; both have their messages in field 1.
const (
	partTag    = 1<<3 | 2
	askedTag   = 9<<3 | 2
	answersTag = 6<<3 | 2
)

// bundle makes one message of several; one alone stays what it is.
func bundle(messages [][]byte) []byte {
	if len(messages) == 1 {
		return messages[0]
	}
	var content []byte
	for _, message := range messages {
		content = appendField(content, partTag, message)
	}
	return appendField(make([]byte, 0, len(content)+binary.MaxVarintLen64+1), askedTag, content)
}

func appendField(to []byte, tag byte, content []byte) []byte {
	return append(binary.AppendUvarint(append(to, tag), uint64(len(content))), content...)
}

// parts has the messages of a bundle of answers, or else the message itself.
func parts(message []byte) [][]byte {
	content, rest := field(message, answersTag)
	if content == nil || len(rest) > 0 {
		return [][]byte{message}
	}
	var found [][]byte
	for len(content) > 0 {
		var part []byte
		if part, content = field(content, partTag); part == nil {
			return [][]byte{message}
		}
		found = append(found, part)
	}
	return found
}

// field has the content of the field that a message begins with, and what comes after; nil if it is not the one of this tag.
func field(message []byte, tag byte) (content, rest []byte) {
	if len(message) == 0 || message[0] != tag {
		return nil, nil
	}
	size, digits := binary.Uvarint(message[1:])
	begin := 1 + digits
	if digits <= 0 || uint64(len(message)-begin) < size {
		return nil, nil
	}
	end := begin + int(size)
	return message[begin:end:end], message[end:]
}
