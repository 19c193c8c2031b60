"""The packaged image catalogue, and names of Docker Hub's official images."""

from kubelet_bridge.model.catalogue import Catalogue
from kubelet_bridge.translate.catalogue import packaged
from kubelet_bridge.translate.catalogue.parse import parse

PACKAGED = packaged.text()
CATALOGUE: Catalogue = parse(PACKAGED)

_OFFICIAL = """
adminer aerospike almalinux alpine alt amazoncorretto amazonlinux api-firewall arangodb archlinux backdrop bash
bonita buildpack-deps busybox caddy cassandra centos chronograf cirros clearlinux clefos clickhouse clojure composer
convertigo couchbase couchdb crate dart debian docker drupal eclipse-mosquitto eclipse-temurin eggdrop elasticsearch
elixir emqx erlang fedora flink fluentd friendica gazebo gcc geonetwork ghost golang gradle groovy haproxy haskell haxe
hello-seattle hello-world hitch hola-mundo httpd hylang ibm-semeru-runtimes ibmjava influxdb irssi jetty joomla jruby
julia kapacitor kibana kong krakend lightstreamer liquibase logstash mageia mariadb matomo maven mediawiki memcached
mongo mongo-express monica mono mysql nats nats-streaming neo4j neurodebian nextcloud nginx node notary odoo
open-liberty openjdk opensuse oraclelinux orientdb percona perl photon php php-zendserver phpmyadmin plone postfixadmin
postgres pypy python r-base rabbitmq rakudo-star redis redmine registry rethinkdb rocket.chat rockylinux ros ruby rust
sapmachine satosa scratch silverpeas sl solr sonarqube sourcemage spark spiped storm swift swipl teamspeak telegraf
thrift tomcat tomee traefik ubuntu ubuntu-debootstrap ubuntu-upstart unit varnish vault websphere-liberty wordpress
xwiki yourls znc zookeeper
"""
OFFICIAL = _OFFICIAL.split()
