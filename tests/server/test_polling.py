"""How gRPC waits for the network."""

import os
import subprocess
import sys
import textwrap

from modelwire_server.polling import CHOICE, VARIABLE


def test_grpc_knows_the_choice_and_serves_with_it() -> None:
    """What it has never heard of it names on standard error."""
    done = _run(
        """
        import asyncio
        from modelwire_server.polling import chosen_polling

        with chosen_polling():
            import grpc

        async def echo(request, context):
            return request

        async def main():
            server = grpc.aio.server()
            handlers = {"Call": grpc.unary_unary_rpc_method_handler(echo)}
            server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("Echo", handlers)])
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                print((await channel.unary_unary("/Echo/Call")(b"hello")).decode())
            await server.stop(None)

        asyncio.run(main())
        """
    )
    assert (done.stdout, done.stderr, done.returncode) == ("hello\n", "", 0)


def test_an_own_choice_is_kept_and_ours_is_not_inherited() -> None:
    choose = f"""
        import os
        from modelwire_server.polling import chosen_polling

        with chosen_polling():
            print(os.environ["{VARIABLE}"])
        print(os.environ.get("{VARIABLE}"))
        """
    assert _run(choose).stdout == f"{CHOICE}\nNone\n"
    assert _run(choose, {VARIABLE: "fuse_filters"}).stdout == "fuse_filters\n" * 2


def test_the_command_line_has_not_imported_grpc_when_it_is_chosen() -> None:
    """gRPC reads the variable once, as it is imported."""
    told = """
        import sys
        import modelwire.__main__
        import modelwire_server.commands.serving
        import modelwire_server.supervision.serving

        print("grpc" in sys.modules)
        """
    assert _run(told).stdout == "False\n"


def _run(code: str, variables: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "GRPC_VERBOSITY": "ERROR"}
    environment.pop(VARIABLE, None)
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**environment, **(variables or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
