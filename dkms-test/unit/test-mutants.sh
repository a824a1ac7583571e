#!/bin/sh
# Is the list of mutants up to date? `make mutants` runs them; this takes no time.
exec "$(dirname "$0")/../mutants/edit" check
