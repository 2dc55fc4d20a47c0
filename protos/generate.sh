#!/usr/bin/env bash
# Regenerates protos/gen from protos/apaise. Committed; `make check` fails when it differs.
set -euo pipefail
cd "$(dirname "$0")"
python="${PYTHON:-../.venv/bin/python}"
bin="$(dirname "$("$python" -c 'import sys; print(sys.executable)')")"
rm -rf gen/apaise
mkdir -p gen
PATH="$bin:$PATH" "$python" -m grpc_tools.protoc -I . -I third_party \
  --python_out=gen --grpc_python_out=gen --mypy_out=quiet:gen --mypy_grpc_out=quiet:gen \
  $(find apaise -name '*.proto' | LC_ALL=C sort)
find gen/apaise -type d -exec touch {}/__init__.py \;
touch gen/apaise/py.typed
