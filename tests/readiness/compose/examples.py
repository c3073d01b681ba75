"""For every rule: the dialect, a service that breaks it, and one that keeps it.

A text that begins with ``services:`` is a whole file; any other is the inside of the service ``web``.
"""

from __future__ import annotations

from textwrap import indent

DATABASE = "image: postgres:16.4\nvolumes: [data:/var/lib/postgresql/data]"
ROUTED = """\
labels:
  traefik.http.routers.web.rule: Host(`shop.example.com`)
  traefik.http.services.web.loadbalancer.server.port: "8080"
"""
CHECKED = ROUTED + "  traefik.http.services.web.loadbalancer.healthcheck.path: /health\n"
UPDATED = "deploy: {replicas: 4, update_config: {parallelism: 1, order: start-first, delay: %s}}"


def in_deploy(text: str) -> str:
    """The labels as a stack has them."""
    return "deploy:\n" + indent(text, "  ")


def whole(text: str) -> str:
    """The whole file."""
    if text.startswith(("services:", "name:", "version:")):
        return text
    return "services:\n  web:\n" + indent(text, "    ") + "\nvolumes: {data: {}}\nnetworks: {back: {internal: true}}\n"


EXAMPLES: tuple[tuple[str, str, str, str], ...] = (
    ("schema", "compose", "imge: nginx", "image: nginx"),
    (
        "schema",
        "stack",
        "deploy: {update_config: {order: start-stop}}",
        "deploy: {update_config: {order: start-first}}",
    ),
    ("no-services", "compose", "services: {}", "image: nginx"),
    ("bad-value", "compose", "healthcheck: {interval: ten}", "healthcheck: {interval: 1m30s}"),
    ("bad-value", "stack", "deploy: {replicas: -3}", "deploy: {replicas: 3}"),
    ("bad-value", "stack", "deploy: {update_config: {failure_action: explode}}", "deploy: {replicas: '3'}"),
    ("bad-value", "compose", "restart: sometimes", "restart: on-failure:3"),
    ("bad-value", "compose", "ports: ['80:99999']", "ports: ['8000-8010:80', '127.0.0.1:81:80/udp', 80]"),
    ("bad-value", "compose", "deploy: {resources: {limits: {memory: lots}}}", "mem_limit: 1.5gb"),
    ("variable-unset", "compose", "image: nginx:${TAG}", "image: nginx:${TAG:-1.27.0}"),
    ("variable-bad", "compose", "image: nginx:${TAG:?say which}", "command: echo $$HOME"),
    ("variable-bad", "compose", "command: costs $5", "command: costs $$5"),
    ("no-effect", "stack", "build: .", "image: nginx"),
    ("no-effect", "stack", "ports: ['127.0.0.1:80:80']", "ports: ['80:80']"),
    ("no-effect", "compose", "deploy: {placement: {constraints: [node.role != manager]}}", "deploy: {replicas: 2}"),
    ("stack-refuses", "stack", "mem_limit: 512m", "deploy: {resources: {limits: {memory: 512m}}}"),
    (
        "stack-refuses",
        "stack",
        "deploy: {resources: {limits: {cpus: 0.5}}}",
        "deploy: {resources: {limits: {cpus: '0.5'}}}",
    ),
    ("stack-refuses", "stack", "name: shop\nservices: {web: {image: nginx}}", "services: {web: {image: nginx}}"),
    (
        "version",
        "stack",
        "version: '2'\nservices: {web: {image: nginx}}",
        "version: '3.8'\nservices: {web: {image: nginx}}",
    ),
    ("version", "compose", "version: '3.8'\nservices: {web: {image: nginx}}", "services: {web: {image: nginx}}"),
    ("image-missing", "compose", "command: run", "build: ."),
    ("image-missing", "stack", "build: .", "image: app:1.0.0"),
    ("image-floating", "stack", "image: nginx", "image: nginx:1.27.1"),
    ("image-floating", "stack", "image: r.example.com:5000/app:latest", "image: r.example.com:5000/app:1.2.3"),
    ("image-loose", "stack", "image: postgres:16-alpine", "image: postgres:16.4-alpine"),
    ("image-digest", "stack", "image: nginx@sha256:abc", f"image: nginx@sha256:{'a' * 64}"),
    ("image-built-here", "compose", "build: .", "image: app:1.0.0"),
    ("image-unreachable", "stack", "build: .\nimage: app:1.0.0", "build: .\nimage: r.example.com/app:1.0.0"),
    ("image-local-registry", "stack", "image: localhost:5000/app:1.0", "image: r.example.com/app:1.0"),
    ("healthcheck-missing", "stack", "image: nginx", "healthcheck: {test: [CMD, ask]}"),
    ("healthcheck-disabled", "stack", "healthcheck: {disable: true}", "healthcheck: {test: [CMD, ask]}"),
    ("healthcheck-disabled", "compose", "healthcheck: {test: [NONE]}", "healthcheck: {test: ask}"),
    ("healthcheck-untested", "stack", "healthcheck: {interval: 30s}", "healthcheck: {test: ask, interval: 30s}"),
    ("healthcheck-malformed", "stack", "healthcheck: {test: [curl, -f]}", "healthcheck: {test: [CMD, curl, -f]}"),
    (
        "healthcheck-malformed",
        "stack",
        "healthcheck: {test: [CMD, curl -f x]}",
        "healthcheck: {test: [CMD-SHELL, curl -f x]}",
    ),
    (
        "healthcheck-always-passes",
        "stack",
        "healthcheck: {test: curl x || true}",
        "healthcheck: {test: curl x || exit 1}",
    ),
    (
        "healthcheck-interval-short",
        "stack",
        "healthcheck: {test: ask, interval: 1s}",
        "healthcheck: {test: ask, interval: 10s}",
    ),
    (
        "healthcheck-detection-slow",
        "stack",
        "healthcheck: {test: ask, interval: 5m}",
        "healthcheck: {test: ask, timeout: 10s}",
    ),
    (
        "healthcheck-timeout-long",
        "stack",
        "healthcheck: {test: ask, interval: 10s, timeout: 1m}",
        "healthcheck: {test: ask, interval: 10s, timeout: 5s}",
    ),
    (
        "healthcheck-retries-few",
        "stack",
        "healthcheck: {test: ask, retries: 1}",
        "healthcheck: {test: ask, retries: 3}",
    ),
    ("healthcheck-start-period", "stack", "healthcheck: {test: ask}", "healthcheck: {test: ask, start_period: 40s}"),
    (
        "healthcheck-pg-isready",
        "stack",
        "healthcheck: {test: pg_isready}",
        "healthcheck: {test: pg_isready -U app -d app}",
    ),
    ("balancer-check-missing", "compose", ROUTED, CHECKED),
    ("balancer-check-missing", "stack", in_deploy(ROUTED), in_deploy(CHECKED)),
    ("balancer-rule", "compose", ROUTED.replace("Host(`", "Host("), ROUTED),
    ("balancer-check-path", "compose", CHECKED.replace("/health\n", "http://web/health\n"), CHECKED),
    (
        "balancer-check-duration",
        "compose",
        CHECKED + "  traefik.http.services.web.loadbalancer.healthcheck.interval: ten",
        CHECKED + "  traefik.http.services.web.loadbalancer.healthcheck.interval: '10'",
    ),
    (
        "balancer-check-interval-short",
        "compose",
        CHECKED + "  traefik.http.services.web.loadbalancer.healthcheck.interval: 1s",
        CHECKED + "  traefik.http.services.web.loadbalancer.healthcheck.interval: 10s",
    ),
    (
        "balancer-check-timeout-long",
        "compose",
        CHECKED + "  traefik.http.services.web.loadbalancer.healthcheck.timeout: 40s",
        CHECKED,
    ),
    ("balancer-labels-misplaced", "stack", CHECKED, in_deploy(CHECKED)),
    ("balancer-labels-misplaced", "compose", in_deploy(CHECKED), CHECKED),
    ("balancer-port-missing", "stack", in_deploy(ROUTED.rsplit("\n", 2)[0]), in_deploy(ROUTED)),
    (
        "checks-flood",
        "stack",
        "healthcheck: {test: ask, interval: 1s}\ndeploy: {replicas: 10}",
        "healthcheck: {test: ask, interval: 30s}\ndeploy: {replicas: 10}",
    ),
    ("replicas-single", "stack", "image: app:1.0.0", "deploy: {replicas: 2}"),
    ("replicas-single", "stack", "deploy: {replicas: 1}", DATABASE),
    ("replicas-none", "stack", "deploy: {replicas: 0}", "deploy: {replicas: 2}"),
    ("update-config-missing", "stack", "deploy: {replicas: 2}", UPDATED % "40s"),
    ("update-stop-first", "stack", "deploy: {replicas: 2, update_config: {parallelism: 1}}", UPDATED % "40s"),
    (
        "update-start-first-stateful",
        "stack",
        DATABASE + "\ndeploy: {update_config: {order: start-first}}",
        DATABASE + "\ndeploy: {update_config: {order: stop-first}}",
    ),
    (
        "update-start-first-stateful",
        "stack",
        "ports: [{target: 80, published: 80, mode: host}]\ndeploy: {update_config: {order: start-first}}",
        "ports: [{target: 80, published: 80}]\ndeploy: {update_config: {order: start-first}}",
    ),
    ("update-all-at-once", "stack", "deploy: {replicas: 4, update_config: {parallelism: 0}}", UPDATED % "40s"),
    ("update-all-at-once", "stack", "deploy: {replicas: 4, update_config: {parallelism: 4}}", UPDATED % "40s"),
    (
        "update-batch-large",
        "stack",
        "deploy: {replicas: 4, update_config: {parallelism: 3}}",
        "deploy: {replicas: 4, update_config: {parallelism: 2}}",
    ),
    ("update-delay-short", "stack", UPDATED % "0s", UPDATED % "40s"),
    (
        "update-delay-balancer",
        "stack",
        "healthcheck: {test: ask}\n" + in_deploy(CHECKED + "replicas: 4\nupdate_config: {delay: 5s}"),
        "healthcheck: {test: ask}\n" + in_deploy(CHECKED + "replicas: 4\nupdate_config: {delay: 45s}"),
    ),
    (
        "update-failure-action",
        "stack",
        "deploy: {update_config: {failure_action: pause}}",
        "deploy: {update_config: {failure_action: rollback}}",
    ),
    (
        "rollback-config-missing",
        "stack",
        "deploy: {replicas: 2, update_config: {failure_action: rollback}}",
        "deploy: {update_config: {failure_action: rollback}, rollback_config: {parallelism: 1}}",
    ),
    ("placement-anywhere", "stack", "image: app:1", "deploy: {placement: {constraints: [node.role!=manager]}}"),
    (
        "placement-anywhere",
        "stack",
        "deploy: {replicas: 2}",
        "deploy: {placement: {constraints: ['node.role == worker']}}",
    ),
    (
        "placement-on-manager",
        "stack",
        "deploy: {placement: {constraints: [node.role == manager]}}",
        "image: traefik:v3.1\ndeploy: {placement: {constraints: [node.role == manager]}}",
    ),
    (
        "placement-unpinned",
        "stack",
        DATABASE,
        DATABASE + "\ndeploy: {placement: {constraints: [node.labels.database == true]}}",
    ),
    (
        "placement-unreadable",
        "stack",
        "deploy: {placement: {constraints: [node.rol == manager]}}",
        "deploy: {placement: {constraints: [engine.labels.disk==ssd]}}",
    ),
    (
        "placement-contradiction",
        "stack",
        "deploy: {placement: {constraints: [node.role == manager, node.role != manager]}}",
        "deploy: {placement: {constraints: [node.labels.a == 1, node.labels.b == 2]}}",
    ),
    ("restart-policy-missing", "compose", "image: app:1", "restart: unless-stopped"),
    ("restart-policy-missing", "stack", "restart: always", "deploy: {restart_policy: {condition: any}}"),
    (
        "restart-given-up",
        "stack",
        "deploy: {restart_policy: {max_attempts: 3}}",
        "deploy: {restart_policy: {max_attempts: 3, window: 120s}}",
    ),
    ("stop-grace-database", "stack", DATABASE, DATABASE + "\nstop_grace_period: 2m"),
    ("stop-grace-missing", "stack", "image: app:1", "stop_grace_period: 30s"),
    ("memory-limit-missing", "stack", "image: app:1", "deploy: {resources: {limits: {memory: 1G}}}"),
    ("memory-limit-missing", "compose", "image: app:1", "mem_limit: 1g"),
    ("cpu-limit-missing", "compose", "image: app:1", "cpus: 0.5"),
    ("reservation-missing", "stack", "image: app:1", "deploy: {resources: {reservations: {memory: 1G}}}"),
    (
        "reservation-above-limit",
        "stack",
        "deploy: {resources: {limits: {memory: 1G}, reservations: {memory: 2048M}}}",
        "deploy: {resources: {limits: {memory: 1G}, reservations: {memory: 1024M}}}",
    ),
    ("log-unbounded", "compose", "image: app:1", "logging: {options: {max-size: 10m}}"),
    ("log-unbounded", "compose", "logging: {driver: json-file}", "logging: {driver: local}"),
    ("log-discarded", "compose", "logging: {driver: none}", "logging: {driver: loki}"),
    ("bind-mount", "stack", "volumes: ['./data:/data']", "volumes: ['data:/data', /var/run/docker.sock:/s]"),
    (
        "bind-mount",
        "stack",
        "volumes: [{type: bind, source: /srv/x, target: /x}]",
        "volumes: [{type: tmpfs, target: /x}]",
    ),
    (
        "bind-mount-disguised",
        "stack",
        "services: {web: {image: app:1}}\nvolumes: {d: {driver_opts: {type: none, o: bind, device: /srv}}}",
        "services: {web: {image: app:1}}\nvolumes: {d: {driver_opts: {type: nfs, o: addr=nas}}}",
    ),
    ("data-unpersisted", "compose", "image: postgres:16.4", DATABASE),
    (
        "data-unpersisted",
        "compose",
        "image: mysql:8.4\nvolumes: ['data:/backup']",
        "image: mysql:8.4\nvolumes: ['data:/var/lib/mysql']",
    ),
    (
        "data-moved",
        "compose",
        "image: postgres:18-alpine\nvolumes: [data:/var/lib/postgresql/data]",
        "image: postgres:18-alpine\nvolumes: [data:/var/lib/postgresql]",
    ),
    ("volume-anonymous", "compose", "volumes: [/var/lib/app]", "volumes: ['data:/var/lib/app']"),
    ("volume-shared", "stack", DATABASE + "\ndeploy: {replicas: 2}", DATABASE),
    ("undefined", "compose", "volumes: ['none:/x']", "volumes: ['data:/x']"),
    ("undefined", "compose", "networks: [front]", "networks: [back, default]"),
    (
        "undefined",
        "compose",
        "secrets: [s]",
        "services: {web: {image: a:1, secrets: [s]}}\nsecrets: {s: {external: true}}",
    ),
    ("undefined", "compose", "depends_on: [db]", "depends_on: {db: {condition: service_started, required: false}}"),
    (
        "secret-literal",
        "compose",
        "environment: {DB_PASSWORD: hunter2}",
        "environment: {DB_PASSWORD_FILE: /run/secrets/db}",
    ),
    ("secret-literal", "compose", "environment: [API_KEY=abcdef123]", "environment: [API_KEY]"),
    ("secret-literal", "compose", "environment: {API_TOKEN: '${T:-hunter2}'}", "environment: {API_TOKEN: '${T}'}"),
    (
        "secret-literal",
        "compose",
        "environment: {URL: 'postgres://app:hunter2@db/app'}",
        "environment: {URL: 'postgres://app@db/app'}",
    ),
    (
        "secret-literal",
        "compose",
        "command: redis-server --requirepass hunter2",
        "command: redis-server --requirepass ${P}",
    ),
    (
        "secret-literal",
        "compose",
        "environment: {X: AKIAABCDEFGHIJKLMNOP}",
        "environment: {ALLOW_EMPTY_PASSWORD: 'yes'}",
    ),
    ("secret-literal", "compose", "environment: {DB_PASSWORD: pa$$word-x}", "environment: {DB_PASSWORD: '${P}'}"),
    ("secret-literal", "compose", "environment: {PGPASSWORD: hunter2$ecret}", "environment: {PGPASSFILE: /run/pgpass}"),
    ("secret-literal", "compose", "environment: {dbPassword: hunter2}", "environment: {passwordLength: 12}"),
    (
        "secret-literal",
        "compose",
        "environment: {API_TOKEN: '${A:-${B:-hunter2}}'}",
        "environment: {API_TOKEN: 'Bearer ${A:-${B}}'}",
    ),
    (
        "secret-literal",
        "compose",
        "environment: {URL: 'postgres://app:pa$$word@db/app'}",
        "environment: {URL: 'postgres://app:${P}@db/app'}",
    ),
    (
        "secret-literal",
        "compose",
        "environment: {DSN: 'Server=db;User Id=sa;Password=hunter2'}",
        "environment: {DSN: 'Server=db;User Id=sa;Password=${P}'}",
    ),
    (
        "secret-literal",
        "compose",
        "command: sh -c 'PGPASSWORD=hunter2 psql'",
        "command: sh -c 'PGPASSWORD=$$P psql postgres://app:$$P@db'",
    ),
    (
        "secret-literal-top",
        "compose",
        "services: {web: {image: a:1}}\nsecrets: {s: {content: pa$$word}}",
        "services: {web: {image: a:1}}\nsecrets: {s: {environment: S}}",
    ),
    (
        "secret-literal-top",
        "compose",
        "services: {web: {image: a:1}}\nsecrets: {s: {content: hunter2}}",
        "services: {web: {image: a:1}}\nsecrets: {s: {content: '${S}'}}",
    ),
    (
        "database-no-password",
        "compose",
        "environment: [POSTGRES_HOST_AUTH_METHOD=trust]",
        "environment: [MYSQL_ALLOW_EMPTY_PASSWORD=no]",
    ),
    ("secret-in-environment", "compose", "environment: {U: 'x://a:${P}@h'}", "environment: {U: 'x://a@${H}:80/'}"),
    ("secret-in-environment", "compose", "environment: {DB_PASSWORD: '${P}'}", "environment: {DB_HOST: '${P}'}"),
    ("database-network-open", "compose", DATABASE, DATABASE + "\nnetworks: [back]"),
    (
        "database-published",
        "compose",
        DATABASE + "\nports: ['5432:5432']",
        DATABASE + "\nports: ['127.0.0.1:5432:5432']",
    ),
    ("entry-internal", "compose", "ports: ['80:80']\nnetworks: [back]", "ports: ['80:80']\nnetworks: [back, default]"),
    (
        "network-one-node",
        "stack",
        "services: {web: {image: a:1}}\nnetworks: {n: {driver: bridge}}",
        "services: {web: {image: a:1}}\nnetworks: {n: {driver: overlay}}",
    ),
    ("port-beside-balancer", "compose", CHECKED + "ports: ['8080:80']", CHECKED),
    ("port-everywhere", "compose", "ports: ['8080:80']", "ports: ['127.0.0.1:8080:80']"),
    ("port-random", "compose", "ports: [80]", "ports: ['80:80']"),
    (
        "port-taken",
        "compose",
        "services: {web: {image: a:1, ports: ['80:80']}, b: {image: a:1, ports: ['80:81']}}",
        "services: {web: {image: a:1, ports: ['80:80']}, b: {image: a:1, ports: ['80:81/udp']}}",
    ),
    ("port-fixed", "compose", "ports: ['80:80']\ndeploy: {replicas: 2}", "ports: ['80-82:80']\ndeploy: {replicas: 2}"),
    (
        "port-fixed",
        "stack",
        "ports: [{target: 80, published: 80, mode: host}]\ndeploy: {replicas: 2}",
        "ports: ['80:80']\ndeploy: {replicas: 2}",
    ),
    ("user-root", "compose", "user: root", "user: '1001:1001'"),
    ("user-root", "compose", "image: app:1", "user: app"),
    ("filesystem-writable", "compose", "image: app:1", "read_only: true"),
    ("read-only-without-tmpfs", "compose", "read_only: true", "read_only: true\ntmpfs: [/tmp]"),
    ("capabilities-kept", "compose", "image: app:1", "cap_drop: [ALL]"),
    ("capability-strong", "compose", "cap_add: [CAP_SYS_ADMIN]", "cap_add: [NET_BIND_SERVICE]"),
    ("privileged", "compose", "privileged: true", "privileged: false"),
    ("new-privileges", "compose", "image: app:1", "security_opt: ['no-new-privileges:true']"),
    ("host-namespace", "compose", "network_mode: host", "network_mode: none"),
    ("docker-socket", "stack", "volumes: ['/var/run/docker.sock:/var/run/docker.sock:ro']", "volumes: ['data:/data']"),
)
