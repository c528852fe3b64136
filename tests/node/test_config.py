"""etcd's flag rules, and every refusal of a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from racos.node.config import (
    QUOTA_BYTES,
    Ask,
    Asked,
    ConfigError,
    NodeConfig,
    address,
    help_text,
    parse,
)

THREE = "n1=http://127.0.0.1:2380,n2=http://127.0.0.1:2390,n3=http://127.0.0.1:2400"


def read(line: str, **environ: str) -> NodeConfig:
    return parse(line.split(), environ)


def refusal(line: str, **environ: str) -> str:
    """The error of a command line, which must be one line."""
    with pytest.raises(ConfigError) as caught:
        read(line, **environ)
    text = str(caught.value)
    assert "\n" not in text
    return text


def three(more: str = "") -> str:
    return (
        f"--name n1 --initial-cluster {THREE} "
        f"--initial-advertise-peer-urls http://127.0.0.1:2380 {more}"
    )


class TestDefaults:
    def test_no_flags_are_a_single_node_in_the_working_directory(self) -> None:
        config = read("")
        assert config == NodeConfig()
        assert (config.name, config.data_dir) == ("default", Path("default.etcd"))
        assert config.listen_client_urls == ("http://localhost:2379",)
        assert config.listen_peer_urls == ("http://localhost:2380",)
        assert (config.n, config.f, config.k) == (1, 0, 1)
        assert config.warnings == ()

    def test_the_data_directory_follows_the_name(self) -> None:
        config = read("--name=a")
        assert config.data_dir == Path("a.etcd")
        assert config.initial_cluster == (("a", ("http://localhost:2380",)),)

    def test_a_lone_member_is_the_cluster_at_its_advertised_url(self) -> None:
        config = read("--initial-advertise-peer-urls http://10.0.0.1:7001")
        assert config.initial_cluster == (("default", ("http://10.0.0.1:7001",)),)

    @pytest.mark.parametrize(("text", "bytes_"), [("0", QUOTA_BYTES), ("-1", 0), ("53248", 53248)])
    def test_quota_follows_etcd(self, text: str, bytes_: int) -> None:
        assert read(f"--quota-backend-bytes={text}").quota_backend_bytes == bytes_


class TestSyntax:
    @pytest.mark.parametrize(
        "line", ["--name=a", "-name=a", "--name a", "-name a", "--name b --name a", "--name=a --"]
    )
    def test_ways_to_write_a_flag(self, line: str) -> None:
        assert read(line).name == "a"

    @pytest.mark.parametrize(
        ("line", "text"),
        [
            ("--nosuch=1", "flag provided but not defined: -nosuch"),
            ("-nosuch", "flag provided but not defined: -nosuch"),
            ("--name", "flag needs an argument: -name"),
            ("---name=a", "bad flag syntax: ---name=a"),
            ("--=a", "bad flag syntax: --=a"),
            ("--name a b", "'b' is not a valid flag"),
            ("--name a -- b", "'b' is not a valid flag"),
            ("-", "'-' is not a valid flag"),
            ("--max-txn-ops=many", 'invalid value "many" for -max-txn-ops: want a whole number'),
            ("--max-txn-ops=-1", 'invalid value "-1" for -max-txn-ops'),
            ("--max-request-bytes=99999999999999999999", "want a whole number"),
            ("--pre-vote=maybe", 'invalid value "maybe" for -pre-vote: want true or false'),
            ("--heartbeat-interval=x", 'invalid value "x" for -heartbeat-interval'),
            ("--suspect-after=10", "want a duration such as 150ms"),
            ("--suspect-after=1s2", "want a duration such as 150ms"),
        ],
    )
    def test_mistakes_are_told(self, line: str, text: str) -> None:
        assert text in refusal(line)

    @pytest.mark.parametrize(
        ("text", "seconds"),
        [("150ms", 0.15), ("1h2m3s", 3723.0), ("1.5s", 1.5), (".5s", 0.5), ("250us", 0.00025)],
    )
    def test_durations(self, text: str, seconds: float) -> None:
        assert read(f"--suspect-after={text}").suspect_after == pytest.approx(seconds)

    @pytest.mark.parametrize("flag", ["-h", "-help", "--help"])
    def test_help(self, flag: str) -> None:
        with pytest.raises(Asked) as caught:
            read(flag)
        assert caught.value.ask is Ask.HELP
        assert "--initial-cluster " in help_text("racos serve")

    def test_version(self) -> None:
        with pytest.raises(Asked) as caught:
            read("--version")
        assert caught.value.ask is Ask.VERSION


class TestEnvironment:
    def test_a_variable_stands_for_its_flag(self) -> None:
        assert read("", ETCD_NAME="a", ETCD_MAX_TXN_OPS="7").max_txn_ops == 7

    def test_an_empty_variable_counts_for_nothing(self) -> None:
        assert read("", ETCD_NAME="").name == "default"

    def test_flag_and_variable_together_are_refused_naming_both(self) -> None:
        text = refusal("--name=a", ETCD_NAME="a")
        assert "ETCD_NAME" in text
        assert "--name" in text

    def test_the_experimental_variable_clashes_with_the_plain_flag(self) -> None:
        interval = {"ETCD_EXPERIMENTAL_WATCH_PROGRESS_NOTIFY_INTERVAL": "5s"}
        assert read("", **interval).watch_progress_notify_interval == 5
        assert "shadowed" in refusal("--watch-progress-notify-interval=5s", **interval)

    def test_unknown_variables_are_only_warned_of(self) -> None:
        config = read("", ETCD_NOSUCH="1", ETCD_VERSION="v3.6.1", ETCDCTL_API="3", PATH="/bin")
        assert config.warnings == (
            "unrecognized environment variable ETCD_NOSUCH is ignored",
            "unrecognized environment variable ETCD_VERSION is ignored",
        )

    def test_a_bad_value_names_the_variable(self) -> None:
        assert 'invalid value "x" for ETCD_MAX_TXN_OPS' in refusal("", ETCD_MAX_TXN_OPS="x")


class TestFlagsWithoutEffect:
    @pytest.mark.parametrize(
        "flag",
        [
            "--snapshot-count=10000",
            "--heartbeat-interval=500",
            "--pre-vote=false",
            "--auto-compaction-retention=1h",
            "--feature-gates=InitialCorruptCheck=true",
            "--experimental-initial-corrupt-check=true",
            "--experimental-of-tomorrow",
            "--experimental-of-tomorrow=5",
            "--enable-v2",
            "--listen-metrics-urls=http://127.0.0.1:2381",
            "--unsafe-no-fsync",
        ],
    )
    def test_tuning_is_accepted_with_one_warning(self, flag: str) -> None:
        (warning,) = read(flag).warnings
        assert flag.partition("=")[0].removeprefix("--experimental-").lstrip("-") in warning
        assert "no effect" in warning

    @pytest.mark.parametrize(
        "flag",
        [
            "--pre-vote",
            "--heartbeat-interval=100",
            "--client-cert-auth=false",
            "--cert-file=",
            "--auth-token=simple",
            "--host-whitelist=*",
            "--force-new-cluster=f",
        ],
    )
    def test_what_happens_anyway_needs_no_warning(self, flag: str) -> None:
        assert read(flag) == NodeConfig()

    @pytest.mark.parametrize(
        "flag",
        [
            "--cert-file=/pki/server.crt",
            "--key-file=/pki/server.key",
            "--trusted-ca-file=/pki/ca.crt",
            "--client-cert-auth",
            "--auto-tls",
            "--peer-cert-file=/pki/peer.crt",
            "--peer-client-cert-auth=true",
            "--peer-auto-tls",
            "--experimental-peer-skip-client-san-verification",
            "--auth-token=jwt,pub-key=a",
            "--force-new-cluster",
            "--discovery=http://discovery",
            "--discovery-srv=example.org",
            "--host-whitelist=example.org",
            "--cors=http://example.org",
            "--wal-dir=/wal",
            "--config-file=/etc/etcd.yaml",
        ],
    )
    def test_what_would_be_a_lie_to_accept_is_refused(self, flag: str) -> None:
        assert "is not supported yet" in refusal(flag)

    def test_a_variable_is_refused_like_its_flag(self) -> None:
        assert "--cert-file is not supported yet" in refusal("", ETCD_CERT_FILE="/pki/server.crt")


class TestUrls:
    def test_several_urls_are_a_list(self) -> None:
        config = read(
            "--listen-client-urls=http://127.0.0.1:1,http://10.0.0.1:2,http://[::1]:0 "
            "--advertise-client-urls=http://a.example:2379"
        )
        assert len(config.listen_client_urls) == 3
        assert address(config.listen_client_urls[2]) == ("::1", 0)

    @pytest.mark.parametrize(
        ("url", "text"),
        [
            ("", "is empty"),
            ("foo", "is not a URL"),
            ("127.0.0.1:2379", "is not a URL"),
            ("https://127.0.0.1:2379", "https:// is not supported yet"),
            ("unix://a:1", "unix:// is not supported yet"),
            ("ftp://127.0.0.1:2379", "URL scheme must be http"),
            ("http://127.0.0.1", 'does not have the form "http://HOST:PORT"'),
            ("http://:2379", 'does not have the form "http://HOST:PORT"'),
            ("http://127.0.0.1:99999", "is not a URL"),
            ("http://127.0.0.1:2379/x", "nothing but scheme, host and port"),
            ("http://u@127.0.0.1:2379", "nothing but scheme, host and port"),
            ("http://example.org:2379", "expected IP in URL for binding"),
            ("http://127.0.0.1:2379,http://127.0.0.1:2379", "is given twice"),
        ],
    )
    def test_bad_urls_are_refused_naming_the_flag(self, url: str, text: str) -> None:
        told = refusal(f"--advertise-client-urls=http://localhost:2379 --listen-client-urls={url}")
        assert text in told
        assert "--listen-client-urls" in told

    def test_clients_must_be_told_where_to_connect(self) -> None:
        assert (
            refusal("--listen-client-urls=http://127.0.0.1:23790")
            == "--advertise-client-urls is required when --listen-client-urls is set explicitly"
        )


class TestCluster:
    def test_members_keep_their_order(self) -> None:
        config = read(three())
        assert [name for name, _ in config.initial_cluster] == ["n1", "n2", "n3"]
        assert (config.n, config.f, config.k) == (3, 1, 2)

    def test_a_member_may_have_several_urls(self) -> None:
        config = read(
            "--initial-cluster default=http://10.0.0.1:1,default=http://10.0.0.2:1 "
            "--initial-advertise-peer-urls http://10.0.0.2:1,http://10.0.0.1:1"
        )
        assert config.initial_cluster == (("default", ("http://10.0.0.1:1", "http://10.0.0.2:1")),)

    def test_localhost_is_the_loopback_address(self) -> None:
        assert read("--initial-cluster default=http://127.0.0.1:2380").n == 1

    def test_own_name_must_be_among_the_members(self) -> None:
        text = refusal(f"--initial-cluster {THREE}")
        assert 'couldn\'t find local name "default" in the initial cluster configuration' in text
        assert "n1, n2, n3" in text

    def test_own_urls_must_be_those_advertised(self) -> None:
        text = refusal(f"--name n2 --initial-cluster {THREE}")
        assert "--initial-cluster has n2=http://127.0.0.1:2390 but" in text
        assert "--initial-advertise-peer-urls is http://localhost:2380" in text

    @pytest.mark.parametrize("word", ["n1", "=http://127.0.0.1:1", "n1="])
    def test_a_malformed_member_is_refused(self, word: str) -> None:
        assert "is not of the form NAME=URL" in refusal(f"--initial-cluster {word}")

    def test_two_members_cannot_share_an_address(self) -> None:
        shared = "default=http://localhost:2380,b=http://127.0.0.1:2380"
        assert "is given twice" in refusal(f"--initial-cluster {shared}")

    @pytest.mark.parametrize("n", [9, 10])
    def test_nine_members_at_most(self, n: int) -> None:
        members = ",".join(f"m{i}=http://localhost:{2380 + i}" for i in range(n))
        line = f"--name=m0 --initial-cluster={members}"
        if n == 9:
            assert (read(line).f, read(line).k) == (4, 5)
        else:
            assert "names 10 members: from 1 to 9" in refusal(line)

    def test_an_existing_cluster_may_be_joined_again(self) -> None:
        assert read("--initial-cluster-state=existing").initial_cluster_state == "existing"
        assert "want one of new, existing" in refusal("--initial-cluster-state=old")


class TestSizes:
    @pytest.mark.parametrize(("given", "k"), [("0", 2), ("1", 1), ("2", 2)])
    def test_data_fragments(self, given: str, k: int) -> None:
        assert read(three(f"--data-fragments={given}")).k == k

    def test_as_many_fragments_as_may_be_lost_must_remain(self) -> None:
        assert "want 1 to 2 (0 takes 2)" in refusal(three("--data-fragments=3"))

    def test_the_queue_engine_never_widens_so_k_is_at_most_n_minus_2f(self) -> None:
        assert read(three("--engine=queue")).k == 1
        assert "--engine queue, want 1 to 1" in refusal(three("--engine=queue --data-fragments=2"))

    @pytest.mark.parametrize(
        ("flag", "text"),
        [
            ("--engine=raft", '--engine is "raft": want one of lanes, queue'),
            ("--max-request-bytes=0", "--max-request-bytes must be above 0"),
            ("--max-txn-ops=0", "--max-txn-ops must be above 0"),
            ("--suspect-after=0", "--suspect-after must be above 0"),
            ("--heal-rate=0", "--heal-rate must be above 0"),
            ("--watch-progress-notify-interval=0", "must be above 0"),
            ("--inline-limit=1048577", "want 0 to 1048576 bytes"),
            ("--log-level=loud", '--log-level is "loud": want one of debug, info'),
            ("--name=", "--name is empty"),
        ],
    )
    def test_sizes_that_cannot_work_are_refused(self, flag: str, text: str) -> None:
        assert text in refusal(flag)

    def test_a_config_made_by_hand_is_checked_too(self) -> None:
        with pytest.raises(ConfigError, match="--data-fragments is 2"):
            NodeConfig(data_fragments=2)


def test_the_description_is_one_line_without_the_token() -> None:
    text = read("--initial-cluster-token=hush").describe()
    assert "name=default " in text
    assert "hush" not in text
    assert "\n" not in text
