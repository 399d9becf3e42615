"""The build context of a container image that serves a project's runners."""
