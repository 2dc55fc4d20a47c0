-- Run once by the image's superuser, on an empty volume. The services' role owns its databases and is no superuser; the
-- superuser's own password is known to nobody but the file it came from.
\set ON_ERROR_STOP on
\set password `cat /run/secrets/postgres_apaise`
create role apaise login password :'password';
create database apaise owner apaise;
create database mlflow owner apaise;
\connect apaise
create extension if not exists vector with schema public;
