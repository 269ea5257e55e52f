FROM python:3.11-slim

# LightGBM's threads.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
RUN pip install --no-cache-dir --constraint constraints.txt .

RUN useradd --create-home user
USER user
WORKDIR /data
ENTRYPOINT ["genus"]
CMD ["--help"]
